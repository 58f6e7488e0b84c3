# Write a C++ file that defines a text, with a literal for each line, since compilers limit their length:
#   cmake -DTEXT=FILE -DNAMESPACE=NAME -DNAME=NAME -DOUT=FILE -P EmbedText.cmake
file(READ ${TEXT} content)
string(REPLACE "\n" "\n)TEXT\"\n  R\"TEXT(" content "${content}")
file(WRITE ${OUT} "namespace ${NAMESPACE} {
extern const char *const ${NAME};
const char *const ${NAME} =
  R\"TEXT(${content})TEXT\";
}  // namespace ${NAMESPACE}
")
