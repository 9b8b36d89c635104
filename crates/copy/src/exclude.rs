//! Paths from the top that a copy neither reads nor touches.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use anyhow::{Result, bail};

/// The paths, as a tree of names. Node 0 is the top.
pub struct Exclude {
    nodes: Vec<HashMap<Vec<u8>, Next>>,
}

#[derive(Clone, Copy)]
enum Next {
    Excluded,
    Node(usize),
}

/// What a name in a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Left out.
    Excluded,
    /// A directory with something in it that may be left out: its node.
    Above(usize),
    /// Neither.
    Not,
}

impl Exclude {
    /// From paths such as "/var/swap" or "var/swap".
    ///
    /// # Errors
    /// One that would lead out of the top, or is the top.
    pub fn new<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        let mut exclude = Self {
            nodes: vec![HashMap::new()],
        };
        for path in paths {
            exclude.add(path.as_ref())?;
        }
        Ok(exclude)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let mut names = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => names.push(name.as_bytes().to_vec()),
                Component::RootDir | Component::CurDir => {}
                _ => bail!("{} cannot be left out: it leads elsewhere", path.display()),
            }
        }
        let Some(last) = names.pop() else {
            bail!("{} cannot be left out: it is all", path.display());
        };
        let mut at = 0;
        for name in names {
            let fresh = self.nodes.len();
            let next = *self.nodes[at].entry(name).or_insert(Next::Node(fresh));
            match next {
                Next::Excluded => return Ok(()),
                Next::Node(node) => at = node,
            }
            if at == fresh {
                self.nodes.push(HashMap::new());
            }
        }
        self.nodes[at].insert(last, Next::Excluded);
        Ok(())
    }

    /// What `name` is in the directory of `node`.
    pub fn find(&self, node: Option<usize>, name: &[u8]) -> Found {
        match node.and_then(|node| self.nodes[node].get(name)) {
            Some(Next::Excluded) => Found::Excluded,
            Some(Next::Node(node)) => Found::Above(*node),
            None => Found::Not,
        }
    }
}

impl Found {
    /// The node for a directory of this name.
    pub fn node(self) -> Option<usize> {
        match self {
            Self::Above(node) => Some(node),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_from_the_top_only() {
        let exclude = Exclude::new(["/a/b", "c", "./d//e/", "a/b/x"]).unwrap();
        let top = Some(0);
        assert_eq!(exclude.find(top, b"c"), Found::Excluded);
        assert_eq!(exclude.find(top, b"b"), Found::Not);
        let a = exclude.find(top, b"a").node();
        assert_eq!(exclude.find(a, b"b"), Found::Excluded);
        assert_eq!(exclude.find(a, b"c"), Found::Not);
        assert_eq!(
            exclude.find(exclude.find(top, b"d").node(), b"e"),
            Found::Excluded
        );
        assert!(Exclude::new(["../x"]).is_err());
        assert!(Exclude::new(["/"]).is_err());
    }
}
