# cmake -DCODE=Wrapper.ll -DOUTPUT=WrapperCode.cpp -P EmbedWrapper.cmake
file(READ ${CODE} code)
file(WRITE ${OUTPUT} "// Made from Wrapper.c.\n#include \"Ahead/WrapperCode.h\"\n\n"
  "const char *const quantopt::execution::wrapperCode = R\"CODE(${code})CODE\";\n")
