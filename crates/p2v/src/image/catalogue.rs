//! The images of this node, and which variants use each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, bail};
use p2v_bootstrap::{Cache, CachePolicy, Image};
use p2v_ganeti::environment::Environment;
use p2v_ganeti::settings::{Settings, SettingsPaths};
use p2v_ganeti::variants;
use p2v_sys::without_credentials;
use serde::Serialize;

/// The version of the JSON that `list` and `show` print.
const VERSION: u32 = 1;

/// The node's cache and variants.
pub struct Catalogue {
    /// Where the node's files are.
    pub paths: SettingsPaths,
    /// The cache; it drops nothing by itself.
    pub cache: Cache,
    variants: Vec<(String, Settings)>,
    /// The other variants, each with what is wrong with it.
    unusable: Vec<(String, anyhow::Error)>,
}

/// What the cache holds.
#[derive(Serialize)]
pub struct Listing {
    version: u32,
    /// The cache's directory.
    pub directory: PathBuf,
    /// The images, by name.
    pub images: Vec<Entry>,
    /// The ramboot initrds that create keeps beside them.
    pub initrds: Initrds,
}

/// How many there are, and their size.
#[derive(Serialize)]
pub struct Initrds {
    pub count: usize,
    pub bytes: u64,
}

/// An image.
#[derive(Serialize)]
pub struct Entry {
    /// What the cache knows.
    #[serde(flatten)]
    pub image: Image,
    /// How long ago it was built, in seconds, if that is known.
    pub age: Option<u64>,
    /// The variants whose creates take it.
    pub variants: Vec<String>,
}

impl Catalogue {
    /// Reads the node's configuration. A variant whose settings cannot be used
    /// is no failure by itself; see [`Catalogue::warn`].
    pub fn open() -> Result<Self> {
        let paths = Environment::from_process().paths()?;
        let policy = CachePolicy {
            generate: true,
            clean_days: None,
        };
        let cache = Cache::new(&paths.cache_dir, policy);
        let mut catalogue = Self {
            paths,
            cache,
            variants: Vec::new(),
            unusable: Vec::new(),
        };
        for (name, settings) in variants::all(&catalogue.paths)? {
            match settings {
                Ok(settings) => catalogue.variants.push((name, settings)),
                Err(error) => catalogue.unusable.push((name, error)),
            }
        }
        Ok(catalogue)
    }

    /// Says what is wrong with the variants that cannot be used: their images
    /// seem to be nobody's. Each fault once, since variants share settings.
    pub fn warn(&self) {
        let faults = self.unusable.iter().map(|(_, error)| format!("{error:#}"));
        for fault in faults.collect::<BTreeSet<_>>() {
            tracing::warn!("{fault}");
        }
    }

    /// The names of all variants.
    ///
    /// # Errors
    /// The settings of one cannot be used.
    pub fn offered(&self) -> Result<Vec<String>> {
        self.check_variants()?;
        Ok(self.variants.iter().map(|(name, _)| name.clone()).collect())
    }

    /// The keys that the variants' creates ask for.
    ///
    /// # Errors
    /// The settings of one cannot be used, so its image is not known.
    pub fn used_keys(&self) -> Result<BTreeSet<String>> {
        self.check_variants()?;
        Ok(self.by_root().into_keys().collect())
    }

    fn check_variants(&self) -> Result<()> {
        match self.unusable.first() {
            Some((_, error)) => bail!("looking which images the variants use: {error:#}"),
            None => Ok(()),
        }
    }

    fn by_root(&self) -> BTreeMap<String, Vec<String>> {
        let variants = self.variants.iter();
        variants::by_root(variants.map(|(name, settings)| (name.as_str(), settings)))
    }

    /// All of it.
    pub fn listing(&self) -> Result<Listing> {
        let mut variants = self.by_root();
        let images = self.cache.images()?;
        let initrds = self.cache.initrds()?;
        let entry = |mut image: Image| {
            if let Some(known) = &mut image.metadata {
                known.mirror = known.mirror.as_deref().map(without_credentials);
            }
            Entry {
                age: image.age().map(|age| age.as_secs()),
                variants: variants.remove(&image.key).unwrap_or_default(),
                image,
            }
        };
        Ok(Listing {
            version: VERSION,
            directory: self.paths.cache_dir.clone(),
            images: images.into_iter().map(entry).collect(),
            initrds: Initrds {
                count: initrds.len(),
                bytes: initrds.iter().map(|initrd| initrd.bytes).sum(),
            },
        })
    }

    /// The image of that name, of that variant, or whose name alone begins so.
    pub fn find(&self, name: &str) -> Result<Entry> {
        const HINT: &str = "`p2v image list` shows those that there are";
        let mut images = self.listing()?.images;
        let of_variant = |entry: &Entry| entry.variants.iter().any(|variant| variant == name);
        let exact = |entry: &Entry| entry.image.key == name || of_variant(entry);
        if let Some(at) = images.iter().position(exact) {
            return Ok(images.swap_remove(at));
        }
        if self.variants.iter().any(|(variant, _)| variant == name) {
            bail!(
                "the variant {name} has no image yet: build it (p2v image build {name}), or leave \
                 that to its first create"
            );
        }
        if let Some((_, error)) = self.unusable.iter().find(|(variant, _)| variant == name) {
            bail!("looking for the image of the variant {name}: {error:#}");
        }
        images.retain(|entry| !name.is_empty() && entry.image.key.starts_with(name));
        match images.len() {
            0 => bail!("there is no image {name:?}: {HINT}"),
            1 => Ok(images.remove(0)),
            many => bail!("{many} images have names that begin with {name:?}: {HINT}"),
        }
    }
}
