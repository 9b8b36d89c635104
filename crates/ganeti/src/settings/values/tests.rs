//! Each kind of value: what is taken, and what is refused.

use super::*;

#[test]
fn suites() {
    for good in ["bookworm", "trixie", "bookworm-backports", "sid", "el9.4"] {
        assert!(suite(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "Bookworm",
        "-x",
        "../x",
        "a b",
        "a/b",
        "a\n",
        "--include=x",
    ] {
        assert!(suite(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn urls() {
    let schemes = ["http", "https", "ftp", "file"];
    assert_eq!(url("", &schemes).unwrap(), None);
    for good in [
        "http://mirror.example.com/debian",
        "https://u:p@[2001:db8::1]:8080/",
        "file:///srv/mirror",
    ] {
        assert!(url(good, &schemes).is_ok(), "{good}");
    }
    for bad in [
        "mirror.example.com",
        "gopher://x/",
        "http://",
        "http:///debian",
        "http://:3128",
        "http://u:p@",
        "http://u:p/w@h/",
        "http://a b/",
        "http://a/\ndeb http://b/",
        "http://a/$(id)`x`",
        "file://srv",
        "-http://x",
    ] {
        assert!(url(bad, &schemes).is_err(), "{bad:?}");
    }
    let secret = url("http://u:p@h/", &schemes).unwrap().unwrap();
    assert_eq!(format!("{secret:?}"), "http://***@h/");
    assert_eq!(serde_json::to_string(&secret).unwrap(), "\"http://***@h/\"");
    assert_eq!(secret.as_str(), "http://u:p@h/");
}

#[test]
fn password_hashes() {
    let good = "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6W";
    for hash in [
        good,
        "!",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5",
    ] {
        let hash = password_hash(hash).unwrap().unwrap();
        let shown = format!("{hash:?}{}", serde_json::to_string(&hash).unwrap());
        assert_eq!(shown, "***\"***\"");
    }
    for bad in [
        "secret",
        "$1$salt$abcdefghijklmnopqrstuv",
        "$6$short",
        "!!",
        "x:$6$",
    ] {
        let reason = password_hash(bad).unwrap_err();
        assert!(
            !reason.contains(bad) && reason.contains("allowed"),
            "{reason}"
        );
    }
    assert!(password_hash(&format!("{good}:0:0")).is_err());
    assert!(password_hash(&format!("{good}\n")).is_err());
}

#[test]
fn time_zones() {
    for zone in [
        "UTC",
        "Europe/Brussels",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+1",
    ] {
        assert_eq!(timezone(zone).unwrap().as_deref(), Some(zone));
    }
    for bad in [
        "/etc/passwd",
        "../x",
        "Europe/",
        "-x",
        "a//b",
        "Europe/../x",
        "a b",
    ] {
        assert!(timezone(bad).is_err(), "{bad}");
    }
}

#[test]
fn lists() {
    let names = packages(",vim, less\n  g++,,libc6.1-x,vim,").unwrap();
    assert_eq!(names, ["vim", "less", "g++", "libc6.1-x"]);
    assert_eq!(packages("").unwrap(), [""; 0]);
    for bad in ["Vim", "v", "-y", "a/b", "a=1", "vim;id", "ü", "a_b"] {
        let reason = packages(bad).unwrap_err();
        assert!(reason.contains("is not a package's name"), "{reason}");
    }
    assert_eq!(
        components("main,non-free-firmware").unwrap(),
        ["main", "non-free-firmware"]
    );
    assert!(components("main/x").is_err());
}

#[test]
fn numbers() {
    assert_eq!(number("0", 0..=9), Ok(0));
    for bad in ["", "-1", "+1", "1 ", "0x1", "10", "99999999999999999999999"] {
        assert!(number(bad, 0..=9).is_err(), "{bad:?}");
    }
    assert_eq!(alignment("2048"), Ok(2048));
    assert_eq!(alignment("8192"), Ok(8192));
    for bad in ["63", "2047", "2049", "0", "99999999999"] {
        assert!(
            alignment(bad).unwrap_err().contains("multiple of 8"),
            "{bad}"
        );
    }
}

#[test]
fn the_rest_names_what_is_allowed() {
    assert_eq!(
        partition_style("mbr").unwrap_err(),
        "allowed: none, msdos, gpt"
    );
    assert_eq!(
        filesystem("zfs").unwrap_err(),
        "allowed: ext2, ext3, ext4, xfs, btrfs"
    );
    assert!(arch("i386").unwrap_err().starts_with("allowed: "));
    assert!(yes_or_no("maybe").is_err());
    assert!(absolute_path("keys").is_err() && absolute_path("").is_err());
}
