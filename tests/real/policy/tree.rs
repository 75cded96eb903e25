//! The files of a case, before and after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};

const FOLDER: &str = "(folder)";
/// The files that every case finds.
const PLANTED: [(&str, &str); 10] = [
    ("/empty", FOLDER),
    ("/in", FOLDER),
    ("/in/old", "old"),
    ("/in/other", "other"),
    ("/in/secret", FOLDER),
    ("/in/secret/key", "key"),
    ("/out", FOLDER),
    ("/out/report.csv", "report"),
    ("/out/tool.exe", "tool"),
    ("/out/Mixed.CSV", "mixed"),
];
/// The time of every planted file.
const PLANTED_AT: u64 = 1_500_000_000;

pub fn planted() -> BTreeMap<String, String> {
    PLANTED.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
}

/// Puts the files into `folder`, and nothing else; they belong to the owner of the folder's parent.
pub fn plant(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("making a case's folder");
    let owner = fs::metadata(folder.parent().expect("a parent")).expect("the parent's owner");
    let give = |path: &Path| chown(path, Some(owner.uid()), Some(owner.gid())).expect("giving");
    give(folder);
    for (name, content) in PLANTED {
        let path = folder.join(&name[1..]);
        if content == FOLDER {
            fs::create_dir(&path).expect("making a folder");
        } else {
            fs::write(&path, content).expect("writing a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opening a file");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(PLANTED_AT);
            let file = fs::File::options().write(true).open(&path).expect("opening a file");
            file.set_modified(time).expect("setting a time");
        }
        give(&path);
    }
}

/// All that is below `folder`: files by their bytes, and what is unusual of a planted file's permissions
/// and time.
pub fn read(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    read_folder(folder, "", &mut found);
    found
}

fn read_folder(folder: &Path, above: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("reading a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{above}/{}", entry.file_name().to_string_lossy());
        let about = fs::symlink_metadata(entry.path()).expect("an entry's attributes");
        let content = if about.is_symlink() {
            let target = fs::read_link(entry.path()).expect("a link's target");
            format!("-> {}", target.display())
        } else if about.is_dir() {
            read_folder(&entry.path(), &path, found);
            FOLDER.to_owned()
        } else {
            let bytes = fs::read(entry.path()).expect("reading a file");
            let mut content = String::from_utf8_lossy(&bytes).replace('\0', "\\0");
            let was = PLANTED.iter().find(|(planted, _)| *planted == path);
            if was.is_some_and(|(_, was)| *was == content) && about.mtime() != PLANTED_AT as i64 {
                content.push_str(&format!(", time {}", about.mtime()));
            }
            if was.is_some() && about.mode() & 0o7777 != 0o644 {
                content.push_str(&format!(", mode {:o}", about.mode() & 0o7777));
            }
            content
        };
        found.insert(path, content);
    }
}

/// A `?` as a name in `expected` stands for whatever name the server chose.
pub fn differences(
    mut expected: BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Vec<String> {
    if let Some(content) = expected.remove("/?") {
        let chosen = found.iter().find(|(path, is)| {
            !expected.contains_key(*path) && **is == content && !path[1..].contains('/')
        });
        let path = chosen.map_or("/?", |(path, _)| path);
        expected.insert(path.to_owned(), content);
    }
    let paths = expected.keys().chain(found.keys().filter(|path| !expected.contains_key(*path)));
    paths
        .filter(|path| expected.get(*path) != found.get(*path))
        .map(|path| {
            let shown = |tree: &BTreeMap<String, String>| {
                tree.get(path).map_or("nothing".to_owned(), |content| format!("{content:?}"))
            };
            format!("{path}: expected {}, found {}", shown(&expected), shown(found))
        })
        .collect()
}
