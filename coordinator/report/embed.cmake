# SPDX-License-Identifier: GPL-3.0-or-later
#
# cmake -DOUTPUT=style.c -DSOURCE=style.css -P embed.cmake
file(READ ${SOURCE} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "// Made from style.css.\n#include \"coordinator/report/html.h\"\n\n"
  "const char html_style[] = {${bytes}0};\n")
