//! Makes the files of the tree that are made from definitions; see the library.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let tree = p2v_manual::tree();
    for directory in p2v_manual::DIRECTORIES {
        // What is not made any more goes.
        match std::fs::remove_dir_all(tree.join(directory)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {directory}"));
            }
            _ => {}
        }
    }
    for made in p2v_manual::files()? {
        let path = tree.join(&made.path);
        let doing = || format!("writing {}", made.path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(doing)?;
        }
        std::fs::write(&path, &made.text).with_context(doing)?;
    }
    Ok(())
}
