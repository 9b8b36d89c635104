//! The settings of a create: defaults, p2v-target.conf, the variant's file and
//! the OS parameters, each going over what came before.
