"""proto/api.proto says everything that the contract says, with the same names and numbers."""
import os
import tempfile
import unittest

import stubs

HERE = os.path.dirname(os.path.abspath(__file__))
FIRST_ADDED = 50


def facts(file):
    """Every fact of a schema that reaches the wire, one string each."""
    found = {f"package {file.package}", f"syntax {file.syntax}"}
    for service in file.service:
        for method in service.method:
            found.add(f"rpc {service.name}.{method.name} "
                      f"{method.client_streaming} {method.input_type} "
                      f"{method.server_streaming} {method.output_type}")
    for message in file.message_type:
        found |= message_facts(message.name, message)
    for enum in file.enum_type:
        found |= {f"enum {enum.name}.{value.name} = {value.number}" for value in enum.value}
    return found


def message_facts(name, message):
    found = {f"message {name}"}
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else "-"
        found.add(f"field {name}.{field.name} = {field.number} label {field.label} "
                  f"type {field.type} {field.type_name} oneof {oneof}")
    for enum in message.enum_type:
        found |= {f"enum {name}.{enum.name}.{value.name} = {value.number}"
                  for value in enum.value}
    for inner in message.nested_type:
        found |= message_facts(f"{name}.{inner.name}", inner)
    return found


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            cls.contract = stubs.descriptors(os.path.join(HERE, "contract.proto"), folder)
            cls.ours = stubs.descriptors(os.path.join(HERE, "../../proto/api.proto"), folder)

    def test_everything_of_the_contract_is_in_our_schema(self):
        self.assertGreater(len(facts(self.contract)), 90)
        self.assertEqual(facts(self.contract) - facts(self.ours), set())

    def test_what_we_added_to_its_messages_has_numbers_from_50_up(self):
        known = {message.name: message for message in self.contract.message_type}
        added = 0
        for message in self.ours.message_type:
            if message.name not in known:
                continue
            numbers = {field.number for field in known[message.name].field}
            for field in message.field:
                if field.number not in numbers:
                    self.assertGreaterEqual(field.number, FIRST_ADDED, field.name)
                    added += 1
        self.assertGreater(added, 0)

    def test_a_changed_number_would_be_seen(self):
        changed = type(self.ours)()
        changed.CopyFrom(self.ours)
        changed.message_type[3].field[0].number += 40
        self.assertNotEqual(facts(changed), facts(self.ours))


if __name__ == "__main__":
    unittest.main()
