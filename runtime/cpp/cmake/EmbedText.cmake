# Write a C++ file that defines a text: cmake -DTEXT=FILE -DNAMESPACE=… -DNAME=… -DOUT=FILE -P EmbedText.cmake
file(READ ${TEXT} content)
file(WRITE ${OUT} "namespace ${NAMESPACE} {\nextern const char *const ${NAME};\nconst char *const ${NAME} = R\"TEXT(${content})TEXT\";\n}  // namespace ${NAMESPACE}\n")
