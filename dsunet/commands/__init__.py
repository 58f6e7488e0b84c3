"""The commands of `dsunet`, a module for each, and the options that several of them share."""
