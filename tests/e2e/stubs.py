"""Python classes and gRPC stubs of a schema, made at test time by protoc into a folder."""
import importlib
import os
import shutil
import subprocess
import sys
import warnings

PLUGIN = shutil.which("grpc_python_plugin") or "grpc_python_plugin"


def descriptors(proto, folder):
    """The FileDescriptorProto of one schema file, by protoc."""
    from google.protobuf import descriptor_pb2
    out = os.path.join(folder, "schema.bin")
    subprocess.run(["protoc", "-I" + os.path.dirname(proto), "--descriptor_set_out=" + out, proto],
                   check=True)
    with open(out, "rb") as file:
        return descriptor_pb2.FileDescriptorSet.FromString(file.read()).file[0]


def load(proto, folder):
    """(messages, services).  Only one schema of a package fits into one process."""
    subprocess.run(["protoc", "-I" + os.path.dirname(proto), "--python_out=" + folder,
                    "--grpc_out=" + folder, "--plugin=protoc-gen-grpc=" + PLUGIN, proto],
                   check=True)
    name = os.path.basename(proto)[:-len(".proto")]
    sys.path.insert(0, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (importlib.import_module(name + "_pb2"),
                importlib.import_module(name + "_pb2_grpc"))
