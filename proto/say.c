#include "proto/say.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    WIDTH_DEFAULT = 80,
    WIDTH_MAX = 100, /* a longer line is hard to read */
    TEXT_MAX = 600,  /* a name, an err.text and what to do about it */
};

static size_t
terminal_width(int fd)
{
    struct winsize size;
    if (!isatty(fd))
        return 0;
    if (ioctl(fd, TIOCGWINSZ, &size) || size.ws_col == 0)
        return WIDTH_DEFAULT;
    return size.ws_col < WIDTH_MAX ? size.ws_col : WIDTH_MAX;
}

void
say_wrapped(FILE *file, const char *text, size_t width)
{
    size_t column = 0;
    while (*text) {
        const size_t word = strcspn(text, " ");
        const size_t spaces = strspn(text + word, " ");
        fprintf(file, "%.*s", (int)word, text);
        column += word;
        text += word + spaces;
        if (!*text)
            break;
        if (width && column + spaces + strcspn(text, " ") > width)
            column = (size_t)fprintf(file, "\n  ") - 1;
        else
            column += (size_t)fprintf(file, "%*s", (int)spaces, "");
    }
    fputc('\n', file);
}

void
say_failed(const char *program, const char *sentence)
{
    char text[TEXT_MAX];
    fflush(stdout);
    snprintf(text, sizeof(text), "%s: %s", program, sentence);
    say_wrapped(stderr, text, terminal_width(STDERR_FILENO));
}
