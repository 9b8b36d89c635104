//! A transfer from its beginning to its end, as the source's side goes through
//! it. Each phase is a call; what a phase does is in the rooms beside this one.
//!
//! Nothing on the target is written before [`agree`]; a run that was
//! interrupted goes on where it stopped when it is started again.

mod ending;
mod filling;
mod session;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::connection::{Address, Link};
use crate::plan::{self, Plan, Wishes};
use crate::preflight::{self, Finding, Weight};
use crate::progress::Form;
use crate::protocol::{Fixed, Loss, Order, Prepared, Status};
use crate::report::{self, Outcome, Report};
use crate::source::{OpenSource, Source};
use crate::target::Target;

pub use ending::{Ending, finish};
use filling::Filling;
pub use session::Session;

/// What somebody wants of a transfer.
#[derive(Debug, Clone)]
pub struct Request {
    /// The source's disks or images; none for all of this machine.
    pub disks: Vec<PathBuf>,
    /// Where the target is.
    pub address: Address,
    /// A plan to follow rather than the default one.
    pub plan: Option<PathBuf>,
    /// Where to keep the plan, to be edited.
    pub save_plan: Option<PathBuf>,
    /// What the default plan is to heed.
    pub wishes: Wishes,
    /// Stop before the first write.
    pub dry_run: bool,
    /// End another transfer that is at work on the target.
    pub take_over: bool,
    /// Only fill the disks; a later run copies what has changed and finishes.
    pub seed: bool,
    /// Compare both sides after the copy.
    pub verify: bool,
    /// Restart the target into the system at the end.
    pub restart: bool,
    /// How contents are packed.
    pub compression: p2v_copy::Compression,
    /// Where the report goes.
    pub report_dir: PathBuf,
    /// How progress is shown.
    pub progress: Form,
}

/// Somebody to talk to: a person at a terminal, or a script's log.
pub trait Person {
    /// Says a line or several.
    fn say(&self, text: &str);
    /// Says what a check has found, good or bad.
    fn tell(&self, finding: &Finding);
    /// Asks a question that only a plain yes answers.
    ///
    /// # Errors
    /// There is nobody to ask.
    fn agrees(&self, question: &str) -> Result<bool>;
    /// Asks whether the host keys with these fingerprints are the target's.
    ///
    /// # Errors
    /// There is nobody to ask.
    fn knows_host_keys(&self, fingerprints: &[String]) -> Result<bool>;
}

/// Moves the machine. `false` if it was moved, but may not start, differs from
/// the source, or is not known to have been started.
///
/// # Errors
/// It could not be moved; the message says what is left and what to do.
pub fn run(request: &Request, person: &dyn Person) -> Result<bool> {
    if !request.dry_run {
        report::check_directory(&request.report_dir)?;
    }
    let source = OpenSource::open(&request.disks)?;
    let result = with_source(request, &source, person);
    let closed = source.close().context("letting the source's disks go");
    let good = result?;
    closed?;
    Ok(good)
}

fn with_source(request: &Request, source: &OpenSource, person: &dyn Person) -> Result<bool> {
    let link = connect(&request.address, person)?;
    let say = |line: &str| person.say(line);
    let mut session = Session::new(&link);
    let mut target: Target = session.ask(&Order::Probe, &say)?;
    if request.take_over {
        if let Some(other) = target.at_work.take() {
            person.say(&format!("{other}: it will be ended (--take-over)"));
        }
    }
    let plan = make_plan(request, &source.source, &target, person)?;
    let mut report = Report::new(&source.source, &target, &plan);
    report.findings = check(&source.source, &target, &plan, person)?;
    if request.dry_run {
        person.say("a dry run: nothing was written");
        return Ok(true);
    }
    let agreed = agree(&target, &plan, person)?;
    let filling = Filling::new(request, source, &plan);
    let mut transfer = Transfer {
        request,
        source,
        plan: &plan,
        agreed,
        filling,
        session,
        report,
        say: &say,
    };
    let result = transfer.go();
    transfer.conclude(result)
}

fn connect(address: &Address, person: &dyn Person) -> Result<Link> {
    Link::establish(address, &mut |keys| person.knows_host_keys(keys))
}

/// How far a transfer to this target came.
///
/// # Errors
/// It does not answer.
pub fn status(address: &Address, person: &dyn Person) -> Result<Status> {
    let link = connect(address, person)?;
    Session::new(&link).ask(&Order::Status, &|line| person.say(line))
}

fn make_plan(
    request: &Request,
    source: &Source,
    target: &Target,
    person: &dyn Person,
) -> Result<Plan> {
    let wishes = &request.wishes;
    let plan = match &request.plan {
        Some(file) => Plan::load(file)?.of(source),
        None => plan::derive(source, target, wishes).or_else(|error| {
            let findings = preflight::check_unplanned(source, target, wishes, &error);
            judge(&findings, person)?;
            Err(error)
        })?,
    };
    if let Some(file) = &request.save_plan {
        plan.save(file)?;
    }
    Ok(plan)
}

/// Shows what will be, and all that speaks against it at once.
fn check(
    source: &Source,
    target: &Target,
    plan: &Plan,
    person: &dyn Person,
) -> Result<Vec<Finding>> {
    person.say(&plan::table(plan));
    let findings = preflight::check(source, target, plan);
    judge(&findings, person)?;
    Ok(findings)
}

/// Says all of them, and fails if one is an error.
fn judge(findings: &[Finding], person: &dyn Person) -> Result<()> {
    for finding in findings {
        person.tell(finding);
    }
    let errors = findings
        .iter()
        .filter(|finding| finding.weight == Weight::Error)
        .count();
    ensure!(
        errors == 0,
        "{errors} of the findings above keep the machine from being moved; nothing was written"
    );
    Ok(())
}

/// One confirmation, which names what will be lost.
fn agree(target: &Target, plan: &Plan, person: &dyn Person) -> Result<Vec<Loss>> {
    let id = plan.id();
    let mut lost = String::new();
    let mut agreed = Vec::new();
    for planned in &plan.disks {
        let device = planned.device.to_string_lossy();
        let Some(disk) = target.disks.iter().find(|disk| disk.device == device) else {
            bail!("the target has no disk {device}; see its disks with --dry-run");
        };
        let is_anothers = planned.is_anothers(disk.begun_from.as_deref());
        let is_made = disk.plan_id.as_ref() == Some(&id);
        if is_made && !is_anothers {
            continue;
        }
        lost += &format!("\n  {device}, {}", crate::quantity::bytes(disk.size));
        if is_made {
            lost += "\n    begun from another machine, of which this one may be a clone";
        }
        for line in &disk.holds {
            lost += &format!("\n    {line}");
        }
        agreed.push(Loss {
            device: disk.device.clone(),
            holds: disk.holds.clone(),
        });
    }
    if lost.is_empty() {
        person.say("the target's disks were made by an earlier run of this plan: it goes on there");
        return Ok(agreed);
    }
    let question = format!(
        "All that is on these disks of {} will be erased:{lost}\nErase them?",
        target.instance.as_deref().unwrap_or(&target.hostname)
    );
    ensure!(
        person.agrees(&question)?,
        "not confirmed; nothing was written"
    );
    Ok(agreed)
}

/// A transfer that has been agreed to.
struct Transfer<'a> {
    request: &'a Request,
    source: &'a OpenSource,
    plan: &'a Plan,
    /// What may be erased, and nothing else.
    agreed: Vec<Loss>,
    filling: Filling<'a>,
    session: Session<'a>,
    report: Report,
    say: &'a dyn Fn(&str),
}

impl Transfer<'_> {
    /// All that writes to the target.
    fn go(&mut self) -> Result<()> {
        self.prepare()?;
        self.report.volumes = self.filling.copy(&mut self.session)?;
        if self.request.verify {
            let differences = self.filling.compare(&mut self.session)?;
            self.report.differences = Some(differences);
        }
        if self.request.seed {
            self.report.outcome = Outcome::Seeded;
            return Ok(());
        }
        self.fix()?;
        self.finish()
    }

    fn prepare(&mut self) -> Result<()> {
        let order = Order::Prepare {
            plan: Box::new(self.plan.clone()),
            erase: self.agreed.clone(),
            take_over: self.request.take_over,
        };
        let prepared: Prepared = self.session.ask(&order, self.say)?;
        if !prepared.complete.is_empty() {
            let names = prepared.complete.join(", ");
            (self.say)(&format!(
                "filled by an earlier run, and brought up to date now: {names}"
            ));
        }
        Ok(())
    }

    fn fix(&mut self) -> Result<()> {
        let order = Order::Fix {
            plan: Box::new(self.plan.clone()),
        };
        let fixed: Fixed = self.session.ask(&order, self.say)?;
        self.report.fixed = Some(fixed);
        Ok(())
    }

    /// A system that will not start, or is not what it was, is not started: the
    /// target stays as it is, to be looked at over SSH.
    fn finish(&mut self) -> Result<()> {
        self.report.restarted = self.request.restart && self.is_good();
        let mut told = self.report.clone();
        told.end(Ok(()));
        let order = Order::Finish {
            plan: Box::new(self.plan.clone()),
            complete: self.is_good(),
            restart: self.report.restarted,
            summary: report::summary(&told),
        };
        if !self.report.restarted {
            let told = self.session.ask::<serde_json::Value>(&order, self.say);
            return told.map(drop).context(
                "the system is moved and repaired, but the target did not say that it let its \
                 disks go",
            );
        }
        let (source, plan) = (self.source, self.plan);
        let host_keys = || ending::host_keys(source, plan);
        let ending = finish(
            &mut self.session,
            &order,
            &ending::LOOK,
            &host_keys,
            self.say,
        )
        .context("the system is moved and repaired, but the target could not finish")?;
        match ending {
            Ending::Told => {}
            Ending::Started => (self.say)("the moved machine answers in the target's place"),
            Ending::Unknown(why) => self.report.unconfirmed = Some(why),
        }
        Ok(())
    }

    /// Whether the system equals the source's and nothing is known that keeps
    /// it from starting.
    fn is_good(&self) -> bool {
        let fixed = self.report.fixed.as_ref();
        !self.report.has_differences() && fixed.is_none_or(|fixed| fixed.will_boot)
    }

    /// Writes the report, whatever the end was, and says it.
    fn conclude(mut self, result: Result<()>) -> Result<bool> {
        self.report.end(result.as_ref().copied());
        for line in report::summary(&self.report) {
            (self.say)(&line);
        }
        match report::write(&self.request.report_dir, &self.report) {
            Ok((json, html)) => (self.say)(&format!(
                "the report: {} and {}",
                html.display(),
                json.display()
            )),
            Err(error) => tracing::warn!("there is no report: {error:#}"),
        }
        result.context(
            "the transfer stopped; run it again with the same options, and it goes on from there",
        )?;
        Ok(self.is_good() && self.report.unconfirmed.is_none())
    }
}
