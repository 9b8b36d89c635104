//! What a person is asked before the first write.

use std::cell::RefCell;

use super::*;
use crate::plan::sample;

const GIB: u64 = 1 << 30;

/// Answers every question so, and remembers it.
struct Answering {
    answer: bool,
    asked: RefCell<Vec<String>>,
}

impl Answering {
    fn with(answer: bool) -> Self {
        Self {
            answer,
            asked: RefCell::default(),
        }
    }
}

impl Person for Answering {
    fn say(&self, _: &str) {}

    fn tell(&self, _: &Finding) {}

    fn agrees(&self, question: &str) -> Result<bool> {
        self.asked.borrow_mut().push(question.to_owned());
        Ok(self.answer)
    }

    fn knows_host_keys(&self, _: &[String]) -> Result<bool> {
        Ok(false)
    }
}

#[test]
fn one_question_names_all_that_will_be_lost() {
    let mut target = sample::target(&[40 * GIB]);
    target.disks[0].holds = vec!["vda1 ext4 2 GiB \"precious\"".to_owned()];
    target.disks[0].plan_id = Some("another".to_owned());
    let source = sample::usual();
    let plan = plan::derive(&source, &target, &Wishes::default()).unwrap();

    let no = Answering::with(false);
    let refused = agree(&target, &plan, &no).unwrap_err();
    assert!(format!("{refused:#}").contains("nothing was written"));

    let yes = Answering::with(true);
    let agreed = agree(&target, &plan, &yes).unwrap();
    assert_eq!(agreed.len(), 1);
    assert_eq!(agreed[0].holds, target.disks[0].holds);
    let asked = yes.asked.borrow();
    assert_eq!(asked.len(), 1);
    for word in ["/dev/vda", "40 GiB", "precious", "erased"] {
        assert!(asked[0].contains(word), "{word}: {}", asked[0]);
    }

    target.disks[0].plan_id = Some(plan.id());
    let mut clone = plan.clone();
    clone.disks[0].hardware = Some("one".to_owned());
    target.disks[0].begun_from = Some("other".to_owned());
    let asked = Answering::with(true);
    assert_eq!(agree(&target, &clone, &asked).unwrap().len(), 1);
    assert!(asked.asked.borrow()[0].contains("from another machine"));

    let silent = Answering::with(false);
    assert!(agree(&target, &plan, &silent).unwrap().is_empty());
    assert!(silent.asked.borrow().is_empty());
}

#[test]
fn where_no_report_can_be_nothing_begins() {
    let mut request = Request {
        disks: vec!["/nonexistent".into()],
        address: Address {
            host: "host.invalid".to_owned(),
            port: 22,
            user: "root".to_owned(),
            identity: None,
            host_keys: Vec::new(),
        },
        plan: None,
        save_plan: None,
        wishes: Wishes::default(),
        dry_run: false,
        take_over: false,
        seed: false,
        verify: false,
        restart: false,
        compression: p2v_copy::Compression::Never,
        report_dir: "/dev/null/report".into(),
        progress: Form::None,
    };
    let said = |request: &Request| {
        let error = run(request, &Answering::with(false)).unwrap_err();
        format!("{error:#}")
    };
    assert!(said(&request).starts_with("writing the report to /dev/null/report (--report-dir"));
    // A dry run writes none.
    request.dry_run = true;
    assert!(
        said(&request).contains("/nonexistent"),
        "{}",
        said(&request)
    );
}
