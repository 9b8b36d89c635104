//! Arguments that are paths of what must be there: a wrong one is told before
//! anything is done.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// A directory.
pub fn directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err("that is no directory: name one".to_owned()),
        Err(error) => Err(format!("{error}: name a directory that is there")),
    })
}

/// A directory that is there, or can be made.
pub fn directory_to_make() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.metadata() {
        Ok(found) if !found.is_dir() => Err("that is no directory: name one"),
        _ => Ok(path),
    })
}

/// A file, or something else that can be read.
pub fn file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match std::fs::metadata(&path) {
        Ok(found) if !found.is_dir() => Ok(path),
        Ok(_) => Err("that is a directory: name a file".to_owned()),
        Err(error) => Err(format!("{error}: name a file that is there")),
    })
}

/// A disk, or a disk's image.
pub fn disk() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match std::fs::metadata(&path) {
        Ok(found) if !found.is_dir() => Ok(path),
        Ok(_) => Err("that is a directory: name a disk, or a file that holds one".to_owned()),
        Err(error) => Err(format!(
            "{error}: name a disk that is there (lsblk lists them), or a file that holds one"
        )),
    })
}
