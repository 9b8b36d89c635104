//! The OS parameters, and which setting each goes over.
