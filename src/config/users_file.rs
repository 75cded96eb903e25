//! The files of `users_file`: more `users`, read again when they have changed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compile::{certificates_are_accepted, compile_user};
use super::read::{Named, Read};
use super::report::{Location, Problems, Report, Severity};
use super::schema::{File, User, UsersFile};
use super::stamp::Stamps;
use super::tree;
use crate::auth::{self, UserTable};

/// The largest file, in bytes.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// Where users come from, to read them again.
pub struct UsersFiles {
    files: Vec<PathBuf>,
    /// Those of the configuration itself, which never change.
    own: HashMap<Vec<u8>, Arc<auth::User>>,
    /// A listener accepts certificates.
    certified: bool,
    stamps: Stamps,
}

/// What [`add`] has added.
pub(super) struct Added {
    files: Vec<PathBuf>,
    /// The names of the configuration's own users.
    own: Vec<String>,
    certified: bool,
    stamps: Stamps,
}

/// Adds the users of the files to those of the configuration, so that all checks see them.
pub(super) fn add(file: &mut File, folder: &Path, problems: &mut Problems) -> Option<Added> {
    let files = file.users_file.as_ref()?;
    let mut users = file.users.take().unwrap_or(Named { at: files.at.clone(), items: Vec::new() });
    let own = users.items.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let files: Vec<_> = files.values().map(|(at, name)| (at, folder.join(&name.0))).collect();
    // Before they are read: a change meanwhile is found at the first look.
    let mut stamps = Stamps::default();
    let paths = || files.iter().map(|(_, path)| path.clone());
    stamps.set(paths());
    for (at, path) in &files {
        match read(path, problems) {
            Ok(more) => add_unique(&mut users.items, more, problems),
            Err(reason) => problems.error(at, reason),
        }
    }
    stamps
        .set(paths().chain(users.items[own.len()..].iter().flat_map(|(_, user)| key_files(user))));
    let files = paths().collect();
    file.users = Some(users);
    let certified = certificates_are_accepted(file);
    Some(Added { files, own, certified, stamps })
}

impl Added {
    /// `users`: all of the configuration.
    pub(super) fn with(self, users: &UserTable) -> UsersFiles {
        let Self { files, own, certified, stamps } = self;
        let own = own.into_iter().map(String::into_bytes);
        let own = own.filter_map(|name| Some((name.clone(), users.get(&name)?.clone())));
        UsersFiles { files, own: own.collect(), certified, stamps }
    }
}

impl UsersFiles {
    /// Whether a file, or one with keys that it names, is another than when it was last read, and has not
    /// changed since `seen`, which this sets: a file that is being written is left alone. Blocks.
    pub fn has_settled_change(&self, seen: &mut Option<Stamps>) -> bool {
        self.stamps.has_settled_change(seen)
    }

    /// Reads the files again. After an error the users stay as they were, until the files have changed once
    /// more. Blocks.
    pub fn read_again(&mut self) -> Result<UserTable, Report> {
        let mut problems = Problems::default();
        let mut read_users = Vec::new();
        // Before the files are read: a change meanwhile is found at the next look.
        let mut stamps = self.stamps.again();
        for path in &self.files {
            match read(path, &mut problems) {
                Ok(more) => add_unique(&mut read_users, more, &mut problems),
                Err(reason) => problems.error(&Location::default(), reason),
            }
        }
        let key_files = read_users.iter().flat_map(|(_, user)| key_files(user));
        stamps.set(self.files.iter().cloned().chain(key_files));
        self.stamps = stamps;
        let mut users = self.own.clone();
        for (name, user) in &read_users {
            let beside = (Path::new(""), self.certified);
            let compiled = compile_user(name, user, beside, &mut problems);
            if users.insert(name.clone().into_bytes(), Arc::new(compiled)).is_some() {
                let message = "is one of the configuration's own `users`, too; remove one of them";
                problems.error(&user.at, message);
            }
        }
        let report = Report::new("users_file", Vec::new(), problems);
        if report.has_errors() { Err(report) } else { Ok(UserTable::of_shared(users)) }
    }
}

fn key_files(user: &User) -> impl Iterator<Item = PathBuf> {
    let files = user.authorized_keys.iter().flat_map(|files| files.values());
    files.map(|(_, name)| name.0.clone())
}

fn read(path: &Path, problems: &mut Problems) -> Result<Vec<(String, User)>, String> {
    let shown = path.display().to_string();
    let text = super::compile::text(path, FILE_MAX)?;
    let mut own = Problems::default();
    let root = tree::parse(&text, &mut own);
    let read = root.map(|root| UsersFile::read(&root, Location::default(), &mut own));
    if read.is_none() && own.is_empty() {
        own.error(&Location::default(), "is empty; for no users, write `users: {}`");
    }
    own.move_to(problems, &shown);
    let users = read.and_then(|file| file.users).map_or(Vec::new(), |users| users.items);
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(users.into_iter().map(|(name, user)| (name, relocated(user, &shown, folder))).collect())
}

/// With locations and file names as the configuration's.
fn relocated(mut user: User, file: &str, folder: &Path) -> User {
    let relocate = |at: &mut Location| *at = at.in_file(file);
    relocate(&mut user.at);
    if let Some(hash) = &mut user.password_hash {
        relocate(&mut hash.at);
    }
    if let Some(keys) = &mut user.authorized_keys {
        relocate(&mut keys.at);
        for leaf in &mut keys.items {
            relocate(&mut leaf.at);
            if let Some(name) = &mut leaf.value {
                name.0 = folder.join(&name.0);
            }
        }
    }
    if let Some(certificate) = &mut user.certificate {
        relocate(&mut certificate.at);
    }
    for list in [&mut user.groups, &mut user.principals].into_iter().flatten() {
        relocate(&mut list.at);
        list.items.iter_mut().for_each(|leaf| relocate(&mut leaf.at));
    }
    if let Some(require) = &mut user.require {
        relocate(&mut require.at);
        require.items.iter_mut().for_each(|leaf| relocate(&mut leaf.at));
    }
    user
}

/// Reports users that are there already.
fn add_unique(users: &mut Vec<(String, User)>, more: Vec<(String, User)>, problems: &mut Problems) {
    let known: HashMap<String, String> =
        users.iter().map(|(name, user)| (name.clone(), user.at.to_string())).collect();
    for (name, user) in more {
        match known.get(&name) {
            Some(first) => problems.error(&user.at, format!("is a duplicate of {first}")),
            None => users.push((name, user)),
        }
    }
}

impl Report {
    /// For the log: the first errors in one line.
    pub fn summary(&self) -> String {
        const SHOWN_MAX: usize = 3;
        let errors = self.problems().iter().filter(|it| it.severity == Severity::Error);
        let texts: Vec<_> = errors.map(|it| format!("{}: {}", it.path, it.message)).collect();
        let more = texts.len().saturating_sub(SHOWN_MAX);
        let shown: Vec<_> =
            texts.iter().take(SHOWN_MAX).map(|it| it.trim_start_matches(": ")).collect();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{}{more}", shown.join("; "))
    }
}
