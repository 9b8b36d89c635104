//! PID 1 of the ramboot initrd as a program of its own, so that an initrd does
//! not carry all of p2v: `make install` puts it beside that, and the builder
//! takes it where it is there. p2v itself has the same program as an applet.

fn main() {
    p2v_ramboot::init::run()
}
