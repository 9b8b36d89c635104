//! The public keys that may log in, in OpenSSH's authorized_keys format.
