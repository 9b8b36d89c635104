//! Configuration files of the node, OS parameters, and authorized keys. The
//! first byte says which.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2v_fuzz::{choice, memory, scratch};
use p2v_ganeti::fuzzing::{keys_of_file, keys_of_parameter};
use p2v_ganeti::job::OsParameters;
use p2v_ganeti::settings::{Settings, SettingsPaths};

fuzz_target!(|data: &[u8]| {
    memory::limit(64 << 20);
    let Some((kind, text)) = choice(data) else {
        return;
    };
    match kind % 4 {
        0 | 1 => configuration(text),
        2 => parameters(&String::from_utf8_lossy(text)),
        _ => keys(text),
    }
});

/// p2v-target.conf, and behind a line `@@` the variant's file.
fn configuration(text: &[u8]) {
    thread_local! {
        static DIRECTORY: tempfile::TempDir = scratch::directory();
    }
    DIRECTORY.with(|directory| {
        let paths = SettingsPaths {
            config_dir: directory.path().into(),
            os_dir: directory.path().into(),
            ..SettingsPaths::default()
        };
        let conf = directory.path().join(p2v_ganeti::settings::CONF_NAME);
        std::fs::write(&conf, text).expect("there is room");
        let settings = Settings::from_layers(&paths, None, &OsParameters::default());
        let Ok(settings) = settings else {
            return;
        };
        // A comment behind all changes nothing.
        let longer = [text, b"\n# a comment\n"].concat();
        std::fs::write(&conf, longer).expect("there is room");
        if let Ok(again) = Settings::from_layers(&paths, None, &OsParameters::default()) {
            assert_eq!(settings.hook_variables(), again.hook_variables());
        }
        for (name, value) in settings.hook_variables() {
            assert!(!name.is_empty() && !name.contains(['=', '\0']), "{name:?}");
            assert!(!value.contains('\0'), "{name}: {value:?}");
        }
    });
}

/// `name=value`, a line each.
fn parameters(text: &str) {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let given: OsParameters = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let _ = Settings::from_layers(&SettingsPaths::default(), None, &given);
}

/// What is written of them is read as the same ones.
fn keys(text: &[u8]) {
    let _ = keys_of_parameter(&String::from_utf8_lossy(text));
    let Ok(keys) = keys_of_file(text) else {
        return;
    };
    let written: String = keys.iter().map(|key| format!("{key}\n")).collect();
    let again = keys_of_file(written.as_bytes()).expect("its own lines are read");
    assert_eq!(keys.len(), again.len());
    assert!(keys.iter().zip(&again).all(|(a, b)| a.line() == b.line()));
}
