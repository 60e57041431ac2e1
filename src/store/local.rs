//! Objects as files below a folder of this machine.
