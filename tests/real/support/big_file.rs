//! The big file that tests transfer, and the comparison with a copy.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::process::SharedFolder;
use super::{full, pattern};

const CHUNK: usize = 1 << 20;

struct BigFile {
    path: PathBuf,
    _folder: SharedFolder,
}

/// 16 MiB, with `--full` 1 GiB; each MiB differs from the others.
pub fn path() -> &'static Path {
    static MADE: OnceLock<BigFile> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = SharedFolder::new().expect("a folder for the big file");
        let path = folder.path().join("big.bin");
        let mut file = File::create(&path).expect("making the big file");
        let chunk = pattern(CHUNK);
        for number in 0..if full() { 1024 } else { 16_u64 } {
            file.write_all(&number.to_le_bytes()).expect("writing the big file");
            file.write_all(&chunk[8..]).expect("writing the big file");
        }
        BigFile { path, _folder: folder }
    });
    &made.path
}

/// The first difference between `copy` and the big file.
pub fn difference(mut copy: impl Read) -> Option<String> {
    let mut whole = File::open(path()).expect("opening the big file");
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for chunk in 0_usize.. {
        a.clear();
        b.clear();
        let limit = CHUNK as u64;
        Read::by_ref(&mut whole).take(limit).read_to_end(&mut a).expect("reading the big file");
        if let Err(error) = copy.by_ref().take(limit).read_to_end(&mut b) {
            return Some(error.to_string());
        }
        if a != b {
            return Some(format!("{} and {} bytes differ in MiB {chunk}", a.len(), b.len()));
        }
        if a.is_empty() {
            break;
        }
    }
    None
}

/// As [`difference`], of a file.
pub fn difference_of(copy: &Path) -> Option<String> {
    match File::open(copy) {
        Ok(copy) => difference(copy),
        Err(error) => Some(error.to_string()),
    }
}
