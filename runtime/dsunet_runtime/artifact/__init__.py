"""The artifact: the manifest, the files that belong to it, and their integrity.

manifest       Manifest: the contract between export and runtime
manifest_file  read_manifest: where a manifest is stored
bounds         limits of a manifest's values
document       a manifest's JSON text and its SHA-256
compute        the precisions of an artifact
shapes         input shapes that an artifact accepts
flavor         TensorRT and TensorRT for RTX
domain         the trained weights of another domain, for an engine
file_kinds     kinds of files, by name and by content
integrity      the checks of sizes and hashes
file_digest    size and SHA-256 of a file
onnx_metadata  the metadata of an ONNX file, without the onnx package
onnx_weights   external weight files of an ONNX graph
"""
