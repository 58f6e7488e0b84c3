"""The commands of `dsunet-export`, a module for each."""
