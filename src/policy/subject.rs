//! How each kind of action is judged: which effects it has on which of its paths, and what it must be
//! changed to so that it has no others.

use std::sync::Arc;

use super::decision::{Decision, IfPresent, Permit, Question, Terms};
use super::denial::{Denial, Reason};
use super::judge::{End, Judge, Ruling};
use super::session_policy::SessionPolicy;
use crate::op::{
    Action, Changes, CopyData, Effect, ListDirectory, Onto, OpenHandle, OpenMode, Operation,
    ReadFile, RemotePath, WriteFile, WriteMode,
};

/// An action that rules decide.
pub trait Subject: Action + Clone {
    /// Decides the action. `creates_exclusively`: whether the backend can create a file, or rename one,
    /// only if the name is free, so that nothing slips in between.
    fn judge(self, policy: &SessionPolicy, creates_exclusively: bool) -> Decision<Self>;
}

/// The file of a name that the backend chooses (STOU).
const UNIQUE_NAME: &[u8] = b"unique";

impl Subject for ReadFile {
    fn judge(self, policy: &SessionPolicy, _: bool) -> Decision<Self> {
        let ruling = policy.judge(&self.path, true).decide(Effect::Read, End::Any);
        ruling.map(|rule| permit(self, rule)).into()
    }
}

impl Subject for ListDirectory {
    fn judge(self, policy: &SessionPolicy, _: bool) -> Decision<Self> {
        let ruling = policy.judge(&self.path, true).decide(Effect::List, End::Any);
        ruling.map(|rule| permit(self, rule)).into()
    }
}

impl Subject for WriteFile {
    fn judge(self, policy: &SessionPolicy, creates_exclusively: bool) -> Decision<Self> {
        match self.mode {
            WriteMode::Unique => match RemotePath::resolve(&self.path, UNIQUE_NAME) {
                Ok(path) => judge_new(self, &path, policy),
                Err(_) => Decision::Allowed(Permit::internal(self)),
            },
            WriteMode::New => {
                let path = self.path.clone();
                judge_new(self, &path, policy)
            }
            WriteMode::From { offset } => judge_write(self, offset, policy, creates_exclusively),
            WriteMode::Append => judge_append(self, policy, creates_exclusively),
        }
    }
}

fn judge_new(action: WriteFile, path: &RemotePath, policy: &SessionPolicy) -> Decision<WriteFile> {
    let judge = policy.judge(path, true);
    let ruling = judge.decide(Effect::Create, End::Any);
    ruling.map(|rule| Permit::new(action, terms(&judge, rule))).into()
}

/// STOR may create a file, overwrite one, or with REST only add to it.
fn judge_write(
    action: WriteFile,
    offset: u64,
    policy: &SessionPolicy,
    creates_exclusively: bool,
) -> Decision<WriteFile> {
    let path = action.path.clone();
    let judge = policy.judge(&path, true);
    let [create, overwrite] =
        [Effect::Create, Effect::Overwrite].map(|it| judge.decide(it, End::Any));
    let allow = |rule: &Arc<str>| {
        let terms = Terms { size_before: offset, ..terms(&judge, rule.clone()) };
        Permit::new(action.clone(), terms)
    };
    let if_absent = create.as_ref().map_err(Clone::clone).map(|rule| match overwrite {
        Err(_) if offset == 0 => {
            let new = WriteFile { mode: WriteMode::New, ..action.clone() };
            Permit::new(new, terms(&judge, rule.clone()))
        }
        _ => allow(rule),
    });
    let if_present = match &overwrite {
        Ok(rule) => IfPresent::AnySize(Ok(allow(rule))),
        Err(denial) => match judge.decide(Effect::Append, End::Any) {
            Ok(rule) if offset > 0 => {
                IfPresent::From { offset, permit: allow(&rule), otherwise: denial.clone() }
            }
            _ => IfPresent::AnySize(Err(denial.clone())),
        },
    };
    match (create, overwrite, if_present) {
        (Ok(_), Ok(rule), _) => Decision::Allowed(allow(&rule)),
        (Err(create), Err(denial), IfPresent::AnySize(_)) => denied(create, denial),
        (Ok(rule), Err(denial), IfPresent::AnySize(_)) if creates_exclusively && offset == 0 => {
            let terms = Terms { if_exists: Some(denial), ..terms(&judge, rule) };
            Decision::Allowed(Permit::new(WriteFile { mode: WriteMode::New, ..action }, terms))
        }
        (_, _, if_present) => depends(path.clone(), if_absent, if_present),
    }
}

fn judge_append(
    action: WriteFile,
    policy: &SessionPolicy,
    creates_exclusively: bool,
) -> Decision<WriteFile> {
    let path = action.path.clone();
    let judge = policy.judge(&path, true);
    let [create, append] = [Effect::Create, Effect::Append].map(|it| judge.decide(it, End::Any));
    let allow = |rule: &Arc<str>| Permit::new(action.clone(), terms(&judge, rule.clone()));
    let if_absent = create.as_ref().map(allow).map_err(Clone::clone);
    match (create, append) {
        (Ok(_), Ok(rule)) if largest(&judge).is_none() => Decision::Allowed(allow(&rule)),
        (Err(create), Err(denial)) => denied(create, denial),
        (Ok(rule), Err(denial)) if creates_exclusively => {
            let terms = Terms { if_exists: Some(denial), ..terms(&judge, rule) };
            Decision::Allowed(Permit::new(WriteFile { mode: WriteMode::New, ..action }, terms))
        }
        (_, Ok(rule)) => depends(path.clone(), if_absent, appending(&judge, allow(&rule))),
        (_, Err(denial)) => depends(path.clone(), if_absent, IfPresent::AnySize(Err(denial))),
    }
}

/// Neither a new file nor a change of an old one is allowed. A name that is not allowed says more than a rule
/// about files that exist.
fn denied<A>(create: Denial, other: Denial) -> Decision<A> {
    let is_name = matches!(create.reason, Reason::UploadName(_));
    Decision::Denied(Box::new(if is_name { create } else { other }))
}

/// Where a file may have a largest size, its size now is needed.
fn appending<A>(judge: &Judge<'_>, permit: Permit<A>) -> IfPresent<A> {
    match largest(judge) {
        Some((max, entry)) => {
            let otherwise = judge.denial(Effect::Append, Reason::TooLarge { entry, max });
            IfPresent::Appending { permit, otherwise }
        }
        None => IfPresent::AnySize(Ok(permit)),
    }
}

impl Subject for OpenHandle {
    /// Backends create files exclusively when they are asked to, so only the size is ever asked for.
    fn judge(self, policy: &SessionPolicy, _: bool) -> Decision<Self> {
        let path = self.path.clone();
        let judge = policy.judge(&path, true);
        let mode = self.mode;
        let read = || judge.decide(Effect::Read, End::Any);
        if !mode.writes() && !mode.create {
            return read().map(|rule| permit(self, rule)).into();
        }
        if mode.read
            && let Err(denial) = read()
        {
            return Decision::Denied(Box::new(denial));
        }
        judge_open_for_writing(self, &judge)
    }
}

fn judge_open_for_writing(action: OpenHandle, judge: &Judge<'_>) -> Decision<OpenHandle> {
    let (path, mode) = (action.path.clone(), action.mode);
    let open =
        |mode: OpenMode, terms: Terms| Permit::new(OpenHandle { path: path.clone(), mode }, terms);
    let create = judge.decide(Effect::Create, End::Any);
    if mode.create && mode.exclusive {
        return create.map(|rule| open(mode, terms(judge, rule))).into();
    }
    let new = OpenMode { exclusive: true, truncate: false, ..mode };
    let existing = OpenMode { create: false, ..mode };
    let overwrite = judge.decide(Effect::Overwrite, End::Any);
    let append = || judge.decide(Effect::Append, End::Any);
    // A file that is not truncated may be written behind its end only.
    let extend = match (&overwrite, mode.truncate) {
        (Err(denial), false) => append().ok().map(|rule| {
            let permit = open(existing, terms(judge, rule));
            IfPresent::Keeping { permit, otherwise: denial.clone() }
        }),
        _ => None,
    };
    let if_present = match (extend, &overwrite) {
        (Some(extend), _) => extend,
        (None, Ok(rule)) if mode.append && !mode.truncate => match append() {
            Ok(_) => appending(judge, open(existing, terms(judge, rule.clone()))),
            Err(denial) => IfPresent::AnySize(Err(denial)),
        },
        (None, Ok(rule)) => IfPresent::AnySize(Ok(open(existing, terms(judge, rule.clone())))),
        (None, Err(denial)) => IfPresent::AnySize(Err(denial.clone())),
    };
    let if_absent = create.clone().map(|rule| open(new, terms(judge, rule)));
    match (create, if_present) {
        (Ok(_), IfPresent::AnySize(Ok(permit))) => {
            Decision::Allowed(open(mode, permit.terms().clone()))
        }
        (Ok(rule), IfPresent::AnySize(Err(denial))) if mode.create => {
            Decision::Allowed(open(new, Terms { if_exists: Some(denial), ..terms(judge, rule) }))
        }
        (Err(denial), IfPresent::AnySize(Ok(permit))) => {
            // Without CREAT the client's own mistake is no denial.
            let if_absent = mode.create.then_some(denial);
            Decision::Allowed(open(existing, Terms { if_absent, ..permit.terms().clone() }))
        }
        (Err(create), IfPresent::AnySize(Err(denial))) if mode.create => denied(create, denial),
        (_, IfPresent::AnySize(Err(denial))) => Decision::Denied(Box::new(denial)),
        (_, if_present) if mode.create => depends(path.clone(), if_absent, if_present),
        // The backend reports a file that does not exist.
        (_, if_present) => {
            let rule = judge.decide(Effect::Append, End::Any);
            depends(path.clone(), rule.map(|rule| open(mode, terms(judge, rule))), if_present)
        }
    }
}

impl Subject for CopyData {
    /// Both files are open, with permits of their own: what is read must still be readable, and what is
    /// written must be so in some way.
    fn judge(self, policy: &SessionPolicy, _: bool) -> Decision<Self> {
        let Self { from, to, append } = self.clone();
        let reads = policy.judge(&from, true).decide(Effect::Read, End::Any);
        let target = policy.judge(&to, true);
        let effects: &[Effect] = if append {
            &[Effect::Append, Effect::Create]
        } else {
            &[Effect::Overwrite, Effect::Create, Effect::Append]
        };
        let mut writes = effects.iter().map(|effect| target.decide_open_file(*effect));
        let written = writes
            .find(Result::is_ok)
            .unwrap_or_else(|| Err(target.denial(effects[0], Reason::NoRule)));
        reads.and(written).map(|rule| permit(self, rule)).into()
    }
}

impl Subject for Operation {
    fn judge(self, policy: &SessionPolicy, creates_exclusively: bool) -> Decision<Self> {
        let one = |path: &RemotePath, effect| policy.judge(path, false).decide(effect, End::Any);
        let ruling: Ruling = match &self {
            Self::Stat(path)
            | Self::LinkStat(path)
            | Self::Size(path, _)
            | Self::Enter(path)
            | Self::ReadLink(path)
            | Self::FileSystem(path) => one(path, Effect::List),
            // It names no path.
            Self::AccountNames { .. } => return Decision::Allowed(Permit::internal(self)),
            Self::Remove(path) => one(path, Effect::Delete),
            Self::RemoveDirectory(path) => one(path, Effect::RemoveDirectory),
            Self::MakeDirectory { path, .. } => one(path, Effect::MakeDirectory),
            Self::SetAttributes { path, changes, .. } => {
                set_attributes(&policy.judge(path, false), changes)
            }
            // Between RNFR and RNTO some FTP servers answer nothing else, also whether a file exists.
            Self::RenameFrom(path) => {
                let action =
                    if creates_exclusively { self.clone() } else { Self::Stat(path.clone()) };
                let ruling = policy.judge(path, false).decide(Effect::Rename, End::Old);
                return ruling.map(|rule| permit(action, rule)).into();
            }
            Self::Rename { from, to, onto } => {
                let (from, to, onto) = (from.clone(), to.clone(), *onto);
                return judge_rename(self, &from, &to, onto, policy, creates_exclusively);
            }
            Self::Symlink { target, link } => {
                let folder = link.parent().unwrap_or_else(RemotePath::root);
                match RemotePath::resolve(&folder, target) {
                    // The backend refuses it.
                    Err(_) => linked(policy, None, link),
                    Ok(target) => linked(policy, Some(&target), link),
                }
            }
            Self::HardLink { from, to } => linked(policy, Some(from), to),
        };
        ruling.map(|rule| permit(self, rule)).into()
    }
}

/// Judged at both ends; onto an existing name also as an overwrite.
fn judge_rename(
    action: Operation,
    from: &RemotePath,
    to: &RemotePath,
    onto: Onto,
    policy: &SessionPolicy,
    creates_exclusively: bool,
) -> Decision<Operation> {
    let target = policy.judge(to, false);
    let source = policy.judge(from, false).decide(Effect::Rename, End::Old);
    let rule = match source.and_then(|_| target.decide(Effect::Rename, End::New)) {
        Ok(rule) => rule,
        Err(denial) => return Decision::Denied(Box::new(denial)),
    };
    let overwrite = match onto {
        Onto::Refused => return Decision::Allowed(permit(action, rule)),
        Onto::AsBackend | Onto::Replaced => target.decide(Effect::Overwrite, End::Any),
    };
    let Err(denial) = overwrite else { return Decision::Allowed(permit(action, rule)) };
    let onto = Onto::Refused;
    let action = Operation::Rename { from: from.clone(), to: to.clone(), onto };
    let terms = Terms { rule: Some(rule), if_exists: Some(denial.clone()), ..Terms::default() };
    let permit = Permit::new(action, terms);
    if creates_exclusively {
        return Decision::Allowed(permit);
    }
    depends(to.clone(), Ok(permit), IfPresent::AnySize(Err(denial)))
}

/// A link to a file, or to a folder and all that is in it: what is written to the link goes there. `target`: `None`
/// if it is no path.
fn linked(policy: &SessionPolicy, target: Option<&RemotePath>, link: &RemotePath) -> Ruling {
    if let Some(target) = target {
        policy.judge(target, false).decide(Effect::Link, End::Old)?;
    }
    let link = policy.judge(link, false);
    link.decide(Effect::Link, End::New)?;
    link.decide(Effect::Create, End::Any)
}

/// `size` truncates the file or makes it longer.
fn set_attributes(judge: &Judge<'_>, changes: &Changes) -> Ruling {
    let attributes = || judge.decide(Effect::SetAttributes, End::Any);
    let Some(size) = changes.size else { return attributes() };
    let rule = judge.decide(Effect::Overwrite, End::Any)?;
    terms(judge, rule.clone()).check_size(judge.path(), size)?;
    if changes.is_only_size() { Ok(rule) } else { attributes() }
}

fn largest(judge: &Judge<'_>) -> Option<(u64, Arc<str>)> {
    let sizes = judge.uploads().filter_map(|rule| Some((rule.max_size?, rule.name.clone())));
    sizes.min_by_key(|(max, _)| *max)
}

fn terms(judge: &Judge<'_>, rule: Arc<str>) -> Terms {
    Terms { rule: Some(rule), max_size: largest(judge), ..Terms::default() }
}

fn permit<A>(action: A, rule: Arc<str>) -> Permit<A> {
    Permit::new(action, Terms { rule: Some(rule), ..Terms::default() })
}

fn depends<A>(
    path: RemotePath,
    if_absent: Result<Permit<A>, Denial>,
    if_present: IfPresent<A>,
) -> Decision<A> {
    Decision::Depends(Box::new(Question { path, if_absent, if_present }))
}
