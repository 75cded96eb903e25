//! A backend in memory that checks each effect on its files against a reference of the rules, which shares no
//! code with `policy`.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use crate::backend::{
    BackendSession, Home, InFlight, Listing, OpenFile, ReadTransfer, WriteTransfer,
};
use crate::data::Sink;
use crate::op::{
    Abilities, Answer, Attributes, Changes, Effect, Entry, EntryKind, Failure, FailureKind, Fault,
    FileSystem, ListDirectory, Onto, OpenHandle, OpenMode, Operation, PeerReply, ReadFile,
    RemotePath, WriteFile, WriteMode,
};
use crate::route::Target;

/// A rule, or the condition of an entry of `policy.uploads`.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) verdict: Verdict,
    pub(super) effects: Vec<Effect>,
    pub(super) place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Deny,
    Hide,
}

/// Where a rule applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Everywhere,
    /// `FOLDER/**`
    Below(String),
    /// `FOLDER/*`
    In(String),
    Exactly(String),
    /// `/**/NAME`
    Named(String),
    /// `/**/NAME/*`
    InNamed(String),
}

/// All rules and uploads.
#[derive(Debug, Clone, Default)]
pub(super) struct References {
    pub(super) rules: Vec<Reference>,
    pub(super) write_once: Option<Place>,
    /// In bytes.
    pub(super) max_size: Option<u64>,
    /// No file may get this name.
    pub(super) denied_name: Option<String>,
}

impl Place {
    pub(super) fn pattern(&self) -> Option<String> {
        Some(match self {
            Self::Everywhere => return None,
            Self::Below(folder) => format!("{folder}/**"),
            Self::In(folder) => format!("{folder}/*"),
            Self::Exactly(path) => path.clone(),
            Self::Named(name) => format!("/**/{name}"),
            Self::InNamed(name) => format!("/**/{name}/*"),
        })
    }

    pub(super) fn includes(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap();
        match self {
            Self::Everywhere => true,
            Self::Below(folder) => path.starts_with(&format!("{folder}/")),
            Self::In(folder) => parent == folder,
            Self::Exactly(exact) => path == exact,
            Self::Named(named) => name == named,
            Self::InNamed(named) => parent.rsplit('/').next() == Some(named),
        }
    }

    /// Whether a file leaves it if the folder `moved`, which is above the file, gets another name.
    fn is_left(&self, path: &str, moved: &str) -> bool {
        let fixed = match self {
            Self::Everywhere | Self::Named(_) => false,
            Self::Below(_) | Self::In(_) | Self::Exactly(_) => true,
            Self::InNamed(_) => path.rsplit_once('/').unwrap().0 == moved,
        };
        self.includes(path) && !self.includes(moved) && fixed
    }
}

impl References {
    pub(super) fn first(&self, effect: Effect, path: &str) -> Option<&Reference> {
        self.rules.iter().find(|rule| {
            let is_listed = matches!(&rule.place, Place::Below(folder) if folder == path);
            rule.effects.contains(&effect)
                && (rule.place.includes(path) || (effect == Effect::List && is_listed))
        })
    }

    #[track_caller]
    pub(super) fn check(&self, effect: Effect, path: &str) {
        let first = self.first(effect, path);
        let allowed = first.is_some_and(|rule| rule.verdict == Verdict::Allow);
        assert!(allowed, "{effect:?} of {path} reached the backend; first: {first:?}");
        let stores = matches!(effect, Effect::Create | Effect::Overwrite | Effect::Append);
        let named =
            self.denied_name.as_ref().is_some_and(|name| path.ends_with(&format!("/{name}")));
        assert!(!(stores && named), "{effect:?} of {path}, a denied name");
        let changes =
            matches!(effect, Effect::Overwrite | Effect::Append | Effect::Delete | Effect::Link);
        let kept = self.write_once.as_ref().is_some_and(|place| place.includes(path));
        assert!(!(changes && kept), "{effect:?} of {path}, which is written once");
    }

    #[track_caller]
    fn check_moved(&self, path: &str, file: &str) {
        let first = self.first(Effect::Rename, file);
        let refused = first.filter(|rule| rule.verdict != Verdict::Allow);
        if let Some(rule) = refused {
            assert!(!rule.place.is_left(file, path), "{file} was moved with {path}: {rule:?}");
        }
    }

    pub(super) fn hides(&self, path: &str, is_folder: bool) -> bool {
        let hidden =
            |effect| self.first(effect, path).is_some_and(|it| it.verdict == Verdict::Hide);
        hidden(Effect::List) || (!is_folder && hidden(Effect::Read))
    }
}

/// `None`: a folder; else a file's size.
type Nodes = BTreeMap<String, Option<u64>>;

/// A session of the backend.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) rules: Arc<References>,
    nodes: Arc<Mutex<Nodes>>,
    /// How many effects there were.
    pub(super) effects: Arc<Mutex<usize>>,
    exclusive: bool,
}

fn failed<T>(kind: FailureKind) -> Result<T, Failure> {
    Err(Failure::new(kind, Fault::Backend, "the model says so"))
}

fn text(path: &RemotePath) -> String {
    String::from_utf8(path.as_bytes().to_vec()).unwrap()
}

impl Model {
    pub(super) fn new(rules: References, exclusive: bool) -> Self {
        let nodes = [
            ("/a", None),
            ("/a/b", None),
            ("/a/b/c", Some(3)),
            ("/a/x.exe", Some(1)),
            ("/a/c", Some(5)),
            ("/b", None),
            ("/b/a", None),
            ("/b/a/c", Some(0)),
            ("/c", Some(8)),
        ];
        let nodes = nodes.map(|(path, size)| (path.to_owned(), size)).into();
        let (rules, nodes) = (Arc::new(rules), Arc::new(Mutex::new(nodes)));
        Self { rules, nodes, effects: Arc::default(), exclusive }
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap()
    }

    #[track_caller]
    fn effect(&self, effect: Effect, path: &str) {
        self.rules.check(effect, path);
        *self.effects.lock().unwrap() += 1;
    }

    fn check_parent(&self, path: &str) -> Result<(), Failure> {
        let parent = path.rsplit_once('/').unwrap().0;
        match self.nodes().get(parent) {
            _ if parent.is_empty() => Ok(()),
            Some(None) => Ok(()),
            Some(Some(_)) => failed(FailureKind::NotADirectory),
            None => failed(FailureKind::NotFound),
        }
    }

    fn entry(&self, path: &RemotePath) -> Result<Entry, Failure> {
        let known =
            if path.is_root() { Some(None) } else { self.nodes().get(&text(path)).copied() };
        let Some(size) = known else { return failed(FailureKind::NotFound) };
        let kind = if size.is_some() { EntryKind::File } else { EntryKind::Directory };
        let attributes = Attributes { size, ..Attributes::default() };
        Ok(Entry { attributes, ..Entry::new(path.name().unwrap_or(b"/"), kind) })
    }

    fn rename(&self, from: &str, to: &str, onto: Onto) -> Result<(), Failure> {
        let is_below = to.starts_with(&format!("{from}/"));
        let Some(moved) = self.nodes().get(from).copied() else {
            return failed(FailureKind::NotFound);
        };
        self.check_parent(to)?;
        let target = self.nodes().get(to).copied();
        match (target, onto) {
            _ if from == to || is_below => return failed(FailureKind::InvalidArgument),
            (Some(_), Onto::Refused) => return failed(FailureKind::AlreadyExists),
            (Some(None), _) => return failed(FailureKind::IsADirectory),
            (Some(Some(_)), _) if moved.is_none() => return failed(FailureKind::NotADirectory),
            (Some(Some(_)), _) => self.effect(Effect::Overwrite, to),
            (None, _) => {}
        }
        self.effect(Effect::Rename, from);
        self.effect(Effect::Rename, to);
        let denied = self.rules.denied_name.as_ref();
        assert!(!denied.is_some_and(|name| to.ends_with(&format!("/{name}"))), "{to} is denied");
        let below = format!("{from}/");
        let all: Vec<_> = self
            .nodes()
            .keys()
            .filter(|it| *it == from || it.starts_with(&below))
            .cloned()
            .collect();
        for old in all {
            let new = format!("{to}{}", &old[from.len()..]);
            if old != from {
                self.rules.check_moved(from, &old);
                self.rules.check_moved(to, &new);
            }
            let node = self.nodes().remove(&old).unwrap();
            let kept = self.rules.write_once.as_ref();
            let is_kept = node.is_some()
                && kept.is_some_and(|place| {
                    place.includes(&old) && (old == from || place.is_left(&old, from))
                });
            assert!(!is_kept, "{old} was moved to {new}, though it is written once");
            self.nodes().insert(new, node);
        }
        Ok(())
    }

    fn change(&self, path: &str, changes: &Changes) -> Result<(), Failure> {
        let Some(old) = self.nodes().get(path).copied() else {
            return failed(FailureKind::NotFound);
        };
        if let Some(size) = changes.size {
            if old.is_none() {
                return failed(FailureKind::IsADirectory);
            }
            self.effect(Effect::Overwrite, path);
            self.resize(path, size);
        }
        if !changes.is_only_size() {
            self.effect(Effect::SetAttributes, path);
        }
        Ok(())
    }

    #[track_caller]
    fn resize(&self, path: &str, size: u64) {
        let max = self.rules.max_size;
        let before = self.nodes().insert(path.to_owned(), Some(size)).flatten();
        // One that was larger before does not grow by a write within it.
        let is_allowed = max.is_none_or(|max| size <= max) || before.is_some_and(|it| size <= it);
        assert!(is_allowed, "{path} has {size} bytes, more than {max:?}");
    }

    fn start_write(&self, path: &str, mode: WriteMode) -> Result<String, Failure> {
        let unique = format!("{}/unique", path.trim_end_matches('/'));
        let path = if mode == WriteMode::Unique { unique.as_str() } else { path };
        self.check_parent(path)?;
        let node = self.nodes().get(path).copied();
        match (node, mode) {
            (Some(None), _) => return failed(FailureKind::IsADirectory),
            (None, _) => {
                self.effect(Effect::Create, path);
                self.nodes().insert(path.to_owned(), Some(0));
            }
            (Some(Some(_)), WriteMode::New) if self.exclusive => {
                return failed(FailureKind::AlreadyExists);
            }
            (Some(Some(size)), WriteMode::From { offset }) if offset >= size && offset > 0 => {
                self.effect_of_growth(path);
            }
            (Some(Some(_)), WriteMode::Append) => self.effect(Effect::Append, path),
            (Some(Some(_)), WriteMode::Unique) => return failed(FailureKind::AlreadyExists),
            (Some(Some(_)), WriteMode::From { .. } | WriteMode::New) => {
                self.effect(Effect::Overwrite, path);
                self.nodes().insert(path.to_owned(), Some(0));
            }
        }
        Ok(path.to_owned())
    }

    /// Who may overwrite a file may also write behind its end.
    #[track_caller]
    fn effect_of_growth(&self, path: &str) {
        let overwrites = self.rules.first(Effect::Overwrite, path);
        let overwrites = overwrites.is_some_and(|rule| rule.verdict == Verdict::Allow);
        self.effect(if overwrites { Effect::Overwrite } else { Effect::Append }, path);
    }
}

#[async_trait]
impl BackendSession for Model {
    fn home(&self) -> Home {
        Home::At(RemotePath::root())
    }

    fn abilities(&self) -> Abilities {
        let (hard_link, copy_data, replacing_rename) = (true, true, true);
        let exclusive_creation = self.exclusive;
        Abilities {
            hard_link,
            copy_data,
            replacing_rename,
            exclusive_creation,
            ..Default::default()
        }
    }

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        match target.action() {
            // The gateway itself asks for files.
            Operation::Stat(path) | Operation::LinkStat(path) | Operation::RenameFrom(path) => {
                return self.entry(path).map(Answer::Entry);
            }
            Operation::Remove(path) => {
                let path = text(path);
                match self.nodes().get(&path) {
                    Some(Some(_)) => {}
                    Some(None) => return failed(FailureKind::IsADirectory),
                    None => return failed(FailureKind::NotFound),
                }
                self.effect(Effect::Delete, &path);
                self.nodes().remove(&path);
            }
            Operation::RemoveDirectory(path) => {
                let path = text(path);
                let below = format!("{path}/");
                if self.nodes().keys().any(|it| it.starts_with(&below)) {
                    return failed(FailureKind::DirectoryNotEmpty);
                }
                if self.nodes().get(&path) != Some(&None) {
                    return failed(FailureKind::NotADirectory);
                }
                self.effect(Effect::RemoveDirectory, &path);
                self.nodes().remove(&path);
            }
            Operation::MakeDirectory { path, .. } => {
                let path = text(path);
                self.check_parent(&path)?;
                if self.nodes().contains_key(&path) {
                    return failed(FailureKind::AlreadyExists);
                }
                self.effect(Effect::MakeDirectory, &path);
                self.nodes().insert(path, None);
            }
            Operation::Rename { from, to, onto } => self.rename(&text(from), &text(to), *onto)?,
            Operation::SetAttributes { path, changes, .. } => self.change(&text(path), changes)?,
            Operation::HardLink { from, to } => {
                let (from, to) = (text(from), text(to));
                let Some(Some(size)) = self.nodes().get(&from).copied() else {
                    return failed(FailureKind::NotFound);
                };
                self.check_parent(&to)?;
                if self.nodes().contains_key(&to) {
                    return failed(FailureKind::AlreadyExists);
                }
                self.effect(Effect::Link, &from);
                self.effect(Effect::Create, &to);
                self.nodes().insert(to, Some(size));
            }
            other => panic!("{other}"),
        }
        Ok(Answer::Done(None))
    }

    async fn list(&self, target: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure> {
        let folder = text(&target.action().path);
        if !target.action().path.is_root() && self.nodes().get(&folder) != Some(&None) {
            return failed(FailureKind::NotFound);
        }
        self.effect(Effect::List, &folder);
        let place = Place::In(folder.trim_end_matches('/').to_owned());
        let nodes = self.nodes().clone();
        let entries = nodes.iter().filter(|(path, _)| place.includes(path)).map(|(path, node)| {
            let kind = if node.is_some() { EntryKind::File } else { EntryKind::Directory };
            Entry::new(path.rsplit('/').next().unwrap(), kind)
        });
        Ok(Box::new(Entries(Some(entries.collect()))))
    }

    async fn open_read(&self, target: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure> {
        let path = text(&target.action().path);
        let Some(Some(_)) = self.nodes().get(&path).copied() else {
            return failed(FailureKind::NotFound);
        };
        self.effect(Effect::Read, &path);
        // The file is open; its bytes do not matter.
        failed(FailureKind::Aborted)
    }

    async fn open_write(
        &self,
        target: &Target<WriteFile>,
    ) -> Result<Box<dyn WriteTransfer>, Failure> {
        let WriteFile { path, mode, .. } = target.action();
        let path = self.start_write(&text(path), *mode)?;
        let path = RemotePath::resolve(&RemotePath::root(), path.as_bytes()).unwrap();
        Ok(Box::new(Stored(path)))
    }

    async fn open(&self, target: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure> {
        let OpenHandle { path, mode } = target.action();
        let path = text(path);
        let node = self.nodes().get(&path).copied();
        let own_from = match node {
            Some(None) => return failed(FailureKind::IsADirectory),
            None if !mode.create => return failed(FailureKind::NotFound),
            None => {
                self.check_parent(&path)?;
                self.effect(Effect::Create, &path);
                self.nodes().insert(path.clone(), Some(0));
                0
            }
            Some(Some(_)) if mode.create && mode.exclusive => {
                return failed(FailureKind::AlreadyExists);
            }
            Some(Some(_)) if mode.truncate => {
                self.effect(Effect::Overwrite, &path);
                self.nodes().insert(path.clone(), Some(0));
                0
            }
            Some(Some(size)) => size,
        };
        if mode.read {
            self.effect(Effect::Read, &path);
        }
        let created = node.is_none() || mode.truncate;
        Ok(Arc::new(Handle { model: self.clone(), path, mode: *mode, own_from, created }))
    }

    async fn close(&self) {}
}

struct Handle {
    model: Model,
    path: String,
    mode: OpenMode,
    /// What the file had before it was opened.
    own_from: u64,
    /// Whether all of it was written by this handle.
    created: bool,
}

impl Handle {
    fn size(&self) -> u64 {
        self.model.nodes().get(&self.path).copied().flatten().unwrap_or_default()
    }

    fn write(&self, offset: u64, length: u64) -> Result<(), Failure> {
        if !self.mode.writes() {
            return failed(FailureKind::PermissionDenied);
        }
        let size = self.size();
        let start = if self.mode.append { size } else { offset };
        if !self.created && self.mode.append {
            self.model.effect(Effect::Append, &self.path);
        } else if !self.created && start < self.own_from {
            self.model.effect(Effect::Overwrite, &self.path);
        } else if !self.created {
            self.model.effect_of_growth(&self.path);
        }
        self.model.resize(&self.path, size.max(start + length));
        Ok(())
    }
}

#[async_trait]
impl OpenFile for Handle {
    fn read_at(&self, _: u64, _: u32) -> InFlight<Option<Bytes>> {
        if self.mode.read {
            self.model.effect(Effect::Read, &self.path);
        }
        InFlight::new(Box::pin(async { Ok(None) }))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> InFlight<()> {
        let written = self.write(offset, data.len() as u64);
        InFlight::new(Box::pin(async { written }))
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        let attributes = Attributes { size: Some(self.size()), ..Attributes::default() };
        Ok(Entry { attributes, ..Entry::new("file", EntryKind::File) })
    }

    async fn size(&self) -> Option<u64> {
        Some(Handle::size(self))
    }

    async fn set_attributes(&self, changes: &Changes) -> Result<(), Failure> {
        let Some(size) = changes.size.filter(|_| self.mode.writes()) else {
            return self.model.change(&self.path, changes);
        };
        if !self.created && size < self.own_from {
            self.model.effect(Effect::Overwrite, &self.path);
        } else if !self.created {
            self.model.effect_of_growth(&self.path);
        }
        if !changes.is_only_size() {
            self.model.effect(Effect::SetAttributes, &self.path);
        }
        self.model.resize(&self.path, size);
        Ok(())
    }

    async fn sync(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn file_system(&self) -> Result<FileSystem, Failure> {
        Ok(FileSystem::default())
    }

    async fn copy_data(
        &self,
        offset: u64,
        length: u64,
        to: &Arc<dyn OpenFile>,
        to_offset: u64,
    ) -> Result<(), Failure> {
        if !self.mode.read {
            return failed(FailureKind::PermissionDenied);
        }
        self.model.effect(Effect::Read, &self.path);
        let rest = Handle::size(self).saturating_sub(offset);
        let length = if length == 0 { rest } else { length.min(rest) };
        let to = to.as_any().downcast_ref::<Self>().unwrap();
        if length == 0 { Ok(()) } else { to.write(to_offset, length) }
    }

    async fn close(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn abort(&self) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct Entries(Option<Vec<Entry>>);

#[async_trait]
impl Listing for Entries {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        Ok(self.0.take().filter(|entries| !entries.is_empty()))
    }

    async fn abort(self: Box<Self>) {}
}

/// A stream whose bytes do not matter.
struct Stored(RemotePath);

#[async_trait]
impl WriteTransfer for Stored {
    fn sink(&mut self) -> &mut Sink {
        panic!("no bytes are written")
    }

    fn path(&self) -> &RemotePath {
        &self.0
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        Ok(None)
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        None
    }
}
