//! Dropping roots by rules, because somebody asks for it. What create drops by
//! itself is in [`super::tidy`].

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{Cache, Image, Verdict};

/// Which roots go: those that a rule names. Without a rule but `keep`, all.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Those of this age or more; initrds too.
    pub older_than: Option<Duration>,
    /// Those whose keys are not among these.
    pub but: Option<BTreeSet<String>>,
    /// Those that are damaged: each is read for it.
    pub damaged: bool,
    /// So many of the newest stay, whatever the rules say.
    pub keep: Option<usize>,
}

/// What became of a root, or of an initrd, that a rule names.
#[derive(Debug, Clone, Serialize)]
pub struct Pruned {
    /// The root's key, or the initrd's file name.
    pub name: String,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Which rule names it, in words.
    pub reason: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is gone.
    Removed,
    /// It would be, without `dry_run`.
    WouldBeRemoved,
    /// A create reads it, or somebody builds it: it stays.
    InUse,
}

impl Cache {
    /// Drops what the rules name and nobody uses, and what killed runs left;
    /// with `dry_run` it only says what would go.
    pub fn prune(&self, rules: &Rules, dry_run: bool) -> Result<Vec<Pruned>> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        self.check_directory()?;
        if !dry_run {
            self.sweep()?;
        }
        let mut images = self.images()?;
        // The newest first; the age of damaged metadata is not known.
        images.sort_by_key(|image| image.age().unwrap_or(Duration::MAX));
        let mut pruned = Vec::new();
        for image in images.iter().skip(rules.keep.unwrap_or(0)) {
            let Some(reason) = self.reason(rules, image)? else {
                continue;
            };
            let outcome = self.drop_image(image, dry_run)?;
            pruned.push(Pruned {
                name: image.key.clone(),
                bytes: image.bytes,
                reason,
                outcome,
            });
        }
        pruned.extend(self.prune_initrds(rules, dry_run)?);
        Ok(pruned)
    }

    fn drop_image(&self, image: &Image, dry_run: bool) -> Result<Outcome> {
        if dry_run {
            return Ok(match image.in_use {
                true => Outcome::InUse,
                false => Outcome::WouldBeRemoved,
            });
        }
        // It may have been built anew since it was looked at.
        let still = || {
            let now = self.image(&image.key);
            now.is_some_and(|now| now.metadata == image.metadata && now.damage == image.damage)
        };
        Ok(match self.remove_if_free(&image.key, still)? {
            true => Outcome::Removed,
            false => Outcome::InUse,
        })
    }

    /// Which rule names it.
    fn reason(&self, rules: &Rules, image: &Image) -> Result<Option<String>> {
        if let (Some(most), Some(age)) = (rules.older_than, image.age()) {
            if age >= most {
                return Ok(Some(format!("older than {} days", days(most))));
            }
        }
        if rules
            .but
            .as_ref()
            .is_some_and(|but| !but.contains(&image.key))
        {
            return Ok(Some("no variant uses it".to_owned()));
        }
        if rules.damaged {
            if let Some(damage) = &image.damage {
                return Ok(Some(format!("damaged: {damage}")));
            }
            if let Verdict::Damaged(damage) = self.verify(&image.key)? {
                return Ok(Some(format!("damaged: {damage}")));
            }
        }
        let only_keep = rules.older_than.is_none() && rules.but.is_none() && !rules.damaged;
        Ok(only_keep.then(|| match rules.keep {
            Some(keep) => format!("not among the {keep} newest"),
            None => "all go".to_owned(),
        }))
    }

    /// Create makes another one in a second, and has one that it reads open.
    fn prune_initrds(&self, rules: &Rules, dry_run: bool) -> Result<Vec<Pruned>> {
        let Some(most) = rules.older_than else {
            return Ok(Vec::new());
        };
        let mut pruned = Vec::new();
        for initrd in self.initrds()?.into_iter().filter(|it| it.age >= most) {
            if !dry_run {
                self.remove_file(&self.dir.join(&initrd.name))?;
            }
            pruned.push(Pruned {
                name: initrd.name,
                bytes: initrd.bytes,
                reason: format!("older than {} days", days(most)),
                outcome: match dry_run {
                    true => Outcome::WouldBeRemoved,
                    false => Outcome::Removed,
                },
            });
        }
        Ok(pruned)
    }
}

fn days(time: Duration) -> u64 {
    time.as_secs() / 86400
}
