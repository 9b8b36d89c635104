//! What the initrd's builder and init read: the kernel's module indexes, folded
//! modules, and the kernel's command line. The first byte says which.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use p2v_fuzz::{choice, files, memory};
use p2v_ramboot::fuzzing::{CommandLine, fold, unfold};
use p2v_ramboot::modules::{Index, IndexTexts};

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let Some((kind, rest)) = choice(data) else {
        return;
    };
    match kind % 4 {
        0 | 1 => indexes(rest),
        2 => command_line(&String::from_utf8_lossy(rest)),
        _ => folded(rest),
    }
});

fn indexes(data: &[u8]) {
    let mut texts = IndexTexts::default();
    for (path, text) in files(data) {
        let text = String::from_utf8_lossy(&text).into_owned();
        match path.as_str() {
            "modules.dep" => texts.dep = text,
            "modules.alias" => texts.alias = text,
            "modules.softdep" => texts.softdep = text,
            "modules.builtin" => texts.builtin = text,
            _ => {}
        }
    }
    let Ok(index) = Index::parse(&texts) else {
        return;
    };
    for module in index.modules().take(50) {
        let plan = index.plan(&module.name);
        let names: BTreeSet<&str> = plan.iter().map(|step| step.module.name.as_str()).collect();
        assert_eq!(names.len(), plan.len(), "a module twice");
        let own = plan.iter().find(|step| step.module.name == module.name);
        assert!(own.is_some_and(|step| step.required), "{}", module.name);
    }
    for name in ["virtio_blk", "crypto-crc32c", "pci:v00001AF4d00001001"] {
        index.plan(name);
    }
    // Cut down to all that there is, it leads to the same.
    let paths = index
        .modules()
        .map(|module| (module.name.clone(), module.path.clone()));
    let trimmed = Index::parse(&index.trimmed(&paths.collect())).expect("its own texts");
    let names = |index: &Index| index.modules().map(|m| m.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&index), names(&trimmed));
}

fn command_line(text: &str) {
    let line = CommandLine::parse(text);
    for (module, options) in &line.module_options {
        // But for a pattern's brackets, as in an alias.
        assert!(module.contains('[') || !module.contains('-'), "{module}");
        assert!(!options.is_empty(), "{module}");
    }
    if let Some(init) = &line.init {
        assert!(init.is_absolute());
    }
    assert!(line.warnings.len() <= text.len());
}

fn folded(bytes: &[u8]) {
    if let Some(folded) = fold(bytes) {
        assert_eq!(unfold(&folded).expect("it was folded here"), bytes);
    }
    if let Ok(module) = unfold(bytes) {
        assert!(module.len() <= bytes.len());
    }
}
