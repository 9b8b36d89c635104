//! Machines in images, made on the spot, and what an inspection finds. Each is
//! hashed before and after. As another user than root they say `SKIPPED`.

mod boot;
mod content;
mod dirty;
mod held;
mod hostile;
mod image;
mod roots;
