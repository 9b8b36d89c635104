//! Listing, verifying and pruning what the cache holds, with a small tree in
//! the place of Debian's packages.

mod common;
mod lab;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use p2v_bootstrap::{Cache, Metadata, Outcome, PruneRules, Recipe, Verdict};
use p2v_sys::lock::FileLock;
use p2v_testing::flip_a_bit;

use lab::{KEEP, Lab, recipe};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn cache(lab: &Lab) -> Cache {
    Cache::new(lab.cache(), KEEP)
}

fn other(package: &str) -> Recipe {
    Recipe {
        packages: vec![package.to_owned()],
        ..recipe()
    }
}

/// Builds one more root, of that age.
fn build(lab: &Lab, recipe: &Recipe, age: Duration) -> String {
    let root = cache(lab).obtain_from(recipe, &lab.small).unwrap();
    let mut metadata = root.metadata().clone();
    metadata.built_at -= age.as_secs();
    let path = lab.cache().join(format!("{}.json", metadata.key));
    std::fs::write(path, serde_json::to_vec(&metadata).unwrap()).unwrap();
    metadata.key
}

fn keys(cache: &Cache) -> Vec<String> {
    let images = cache.images().unwrap();
    images.into_iter().map(|image| image.key).collect()
}

#[test]
fn only_complete_roots_are_listed() {
    let Some(lab) = Lab::new() else { return };
    assert!(cache(&lab).images().unwrap().is_empty(), "no directory");
    assert!(cache(&lab).initrds().unwrap().is_empty());
    lab.obtain(KEEP).unwrap();
    let half = other("half").key();
    std::fs::create_dir(lab.cache().join(format!(".building-{half}"))).unwrap();
    for name in [
        &format!("{half}.tar.zst"),
        "notes.json",
        "initrd-06db35f5dfc400e1d4753db522f47d7c.img",
        ".tmpx",
    ] {
        std::fs::write(lab.cache().join(name), "half").unwrap();
    }
    let images = cache(&lab).images().unwrap();
    assert_eq!(images.len(), 1);
    let image = &images[0];
    assert_eq!(
        (image.key.as_str(), image.in_use),
        (&*recipe().key(), false)
    );
    assert_eq!(image.damage, None);
    assert_eq!(image.bytes, lab.file("tar.zst").metadata().unwrap().len());
    assert!(image.age().unwrap() < DAY);
    let initrds = cache(&lab).initrds().unwrap();
    assert_eq!((initrds.len(), initrds[0].bytes), (1, 4));
}

/// A word of what is said of the damage, whether a list shows it, and how it is
/// done.
type Damage = (&'static str, bool, fn(&Lab));

const DAMAGES: [Damage; 5] = [
    ("checksum is wrong", false, |lab| {
        flip_a_bit(&lab.file("tar.zst"))
    }),
    ("bytes instead of", true, |lab| {
        let archive = std::fs::File::options()
            .write(true)
            .open(lab.file("tar.zst"));
        archive.unwrap().set_len(1000).unwrap();
    }),
    ("missing", true, |lab| {
        std::fs::remove_file(lab.file("tar.zst")).unwrap()
    }),
    ("reading", true, |lab| {
        std::fs::write(lab.file("json"), "{").unwrap()
    }),
    ("metadata is that of", true, |lab| {
        let text = std::fs::read_to_string(lab.file("json")).unwrap();
        let text = text.replace(&recipe().key(), &other("x").key());
        std::fs::write(lab.file("json"), text).unwrap();
    }),
];

#[test]
fn each_damage_is_found_and_a_build_mends_it() {
    for (words, at_a_glance, damage) in DAMAGES {
        let Some(lab) = Lab::new() else { return };
        lab.obtain(KEEP).unwrap();
        let key = recipe().key();
        assert_eq!(cache(&lab).verify(&key).unwrap(), Verdict::Whole);
        damage(&lab);
        let image = cache(&lab).image(&key).unwrap();
        assert_eq!(image.damage.is_some(), at_a_glance, "{words}");
        let verdict = cache(&lab).verify(&key).unwrap();
        let Verdict::Damaged(why) = &verdict else {
            panic!("{words}: {verdict:?}");
        };
        assert!(why.contains(words), "{why}");
        // While somebody builds it, nobody says that it is damaged.
        let lock = FileLock::try_lock(&lab.file("lock")).unwrap();
        assert_eq!(cache(&lab).verify(&key).unwrap(), Verdict::BeingBuilt);
        drop(lock);
        let damaged = PruneRules {
            damaged: true,
            ..PruneRules::default()
        };
        let pruned = cache(&lab).prune(&damaged, true).unwrap();
        assert_eq!(pruned.len(), 1, "{words}");
        assert_eq!(pruned[0].outcome, Outcome::WouldBeRemoved);
        lab.obtain(KEEP).unwrap();
        assert_eq!(cache(&lab).verify(&key).unwrap(), Verdict::Whole);
        assert_eq!(lab.small.builds(), 2, "{words}");
        flip_a_bit(&lab.file("tar.zst"));
        let pruned = cache(&lab).prune(&damaged, false).unwrap();
        assert_eq!(pruned[0].outcome, Outcome::Removed);
        assert!(cache(&lab).verify(&key).is_err(), "there is none any more");
        assert_eq!(lab.names(), [format!("{key}.lock")]);
    }
}

#[test]
fn what_somebody_reads_or_builds_is_never_pruned() {
    let Some(lab) = Lab::new() else { return };
    let root = lab.obtain(KEEP).unwrap();
    let all = PruneRules::default();
    let prune = || cache(&lab).prune(&all, false).unwrap();
    assert!(cache(&lab).images().unwrap()[0].in_use);
    assert_eq!(prune()[0].outcome, Outcome::InUse);
    assert_eq!(
        cache(&lab).prune(&all, true).unwrap()[0].outcome,
        Outcome::InUse
    );
    assert_eq!(lab.names(), lab.complete());
    drop(root);
    let lock = FileLock::try_lock(&lab.file("lock")).unwrap();
    assert_eq!(prune()[0].outcome, Outcome::InUse);
    drop(lock);
    assert_eq!(lab.names(), lab.complete());
    assert_eq!(prune()[0].outcome, Outcome::Removed);
    assert!(prune().is_empty());
    lab.obtain(KEEP).unwrap();
    assert_eq!(lab.small.builds(), 2);
}

#[test]
fn creates_and_prunes_at_once_disturb_nobody() {
    let Some(lab) = Lab::new() else { return };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let creates = [0, 1].map(|number| {
            let lab = &lab;
            scope.spawn(move || {
                for round in 0..8 {
                    let root = lab.obtain(KEEP).unwrap();
                    let copy = lab.dir.path().join(format!("copy-{number}-{round}"));
                    std::fs::create_dir(&copy).unwrap();
                    root.unpack(&copy).unwrap();
                    assert!(copy.join("usr/bin/program").exists());
                }
            })
        });
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                cache(&lab).prune(&PruneRules::default(), false).unwrap();
                cache(&lab).images().unwrap();
            }
        });
        let ended = creates.map(|create| create.join());
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        ended.into_iter().for_each(|end| end.unwrap());
    });
}

/// Older than so many days, whether what is used stays, how many of the newest
/// stay; and which go.
type Rules = (Option<u32>, bool, Option<usize>, &'static [&'static str]);

const RULES: [Rules; 9] = [
    (Some(10), false, None, &["old", "used"]),
    (Some(11), false, None, &["used"]),
    (Some(21), false, None, &[]),
    (None, true, None, &["new", "old"]),
    (None, true, Some(1), &["old"]),
    (Some(15), true, None, &["new", "old", "used"]),
    (None, false, Some(2), &["used"]),
    (None, false, Some(3), &[]),
    (None, false, Some(0), &["new", "old", "used"]),
];

#[test]
fn rules_name_what_goes_and_the_newest_stay() {
    let Some(lab) = Lab::new() else { return };
    let new = build(&lab, &other("new"), Duration::ZERO);
    let old = build(&lab, &other("old"), 10 * DAY);
    let used = build(&lab, &recipe(), 20 * DAY);
    let check = |rules: &PruneRules, expected: &[&str]| {
        let before = lab.names();
        let pruned = cache(&lab).prune(rules, true).unwrap();
        let would = pruned.iter().map(|one| match &one.name {
            name if *name == new => "new",
            name if *name == old => "old",
            name if *name == used => "used",
            other => other,
        });
        assert_eq!(would.collect::<Vec<_>>(), expected, "{rules:?}");
        assert_eq!(lab.names(), before, "a dry run removed something");
    };
    for (days, used_stays, keep, expected) in RULES {
        let but = used_stays.then(|| BTreeSet::from([used.clone()]));
        let rules = PruneRules {
            older_than: days.map(|days| DAY * days),
            but,
            keep,
            ..PruneRules::default()
        };
        check(&rules, expected);
    }
    let damaged = PruneRules {
        damaged: true,
        ..PruneRules::default()
    };
    check(&damaged, &[]);
}

#[test]
fn what_is_old_goes_with_initrds_and_what_was_left() {
    let Some(lab) = Lab::new() else { return };
    let new = build(&lab, &other("new"), Duration::ZERO);
    build(&lab, &recipe(), 20 * DAY);
    let rules = PruneRules {
        older_than: Some(10 * DAY),
        ..PruneRules::default()
    };
    let initrd = lab
        .cache()
        .join("initrd-06db35f5dfc400e1d4753db522f47d7c.img");
    let file = std::fs::File::create(&initrd).unwrap();
    file.set_modified(SystemTime::now() - 10 * DAY).unwrap();
    // What a killed build left goes too.
    let left = lab
        .cache()
        .join(format!(".building-{}", other("killed").key()));
    std::fs::create_dir(&left).unwrap();
    assert_eq!(cache(&lab).prune(&rules, false).unwrap().len(), 2);
    assert_eq!(keys(&cache(&lab)), [new]);
    assert!(!initrd.exists() && !left.exists());
}

#[test]
fn a_rebuild_replaces_only_when_it_is_complete() {
    let Some(mut lab) = Lab::new() else {
        return;
    };
    build(&lab, &recipe(), 3 * DAY);
    lab.small.fail = true;
    let rebuild = |lab: &Lab| cache(lab).rebuild_from(&recipe(), &lab.small);
    assert!(rebuild(&lab).is_err());
    let age = |lab: &Lab| cache(lab).images().unwrap()[0].age().unwrap();
    assert!(age(&lab) > 2 * DAY);
    assert_eq!(cache(&lab).verify(&recipe().key()).unwrap(), Verdict::Whole);
    lab.small.fail = false;
    // Somebody unpacks the old one meanwhile.
    let old = lab.obtain(KEEP).unwrap();
    rebuild(&lab).unwrap();
    assert!(age(&lab) < DAY);
    assert_eq!(cache(&lab).verify(&recipe().key()).unwrap(), Verdict::Whole);
    assert_eq!(lab.names(), lab.complete());
    let copy = lab.dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    old.unpack(&copy).unwrap();
    assert!(copy.join("usr/bin/program").exists());
}

/// Killed between its two renames, when a new archive has taken an old one's
/// place.
#[test]
fn what_a_killed_rebuild_leaves_is_swept() {
    let Some(lab) = Lab::new() else { return };
    lab.obtain(KEEP).unwrap();
    std::fs::remove_file(lab.file("json")).unwrap();
    assert!(cache(&lab).images().unwrap().is_empty());
    let nothing = PruneRules {
        damaged: true,
        ..PruneRules::default()
    };
    assert!(cache(&lab).prune(&nothing, false).unwrap().is_empty());
    assert_eq!(lab.names(), [format!("{}.lock", recipe().key())]);
    let root = lab.obtain(KEEP).unwrap();
    let text = std::fs::read(lab.file("json")).unwrap();
    let metadata: Metadata = serde_json::from_slice(&text).unwrap();
    assert_eq!(&metadata, root.metadata());
}
