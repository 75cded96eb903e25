//! Properties: nothing panics, no name is a path, a rendered entry is parsed back.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const YEAR_9999: i64 = 253_402_300_799;

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..40).prop_filter("a name", |n| {
        !n.iter().any(|b| b"\0\r\n/".contains(b)) && n != b"." && n != b".."
    })
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"Nov".to_vec()),
        "[0-9]{1,4}".prop_map(Vec::from),
        "[a-z+_-]{1,12}".prop_map(Vec::from)
    ]
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        Just(EntryKind::Other),
        option::of("[a-z./]{1,20}".prop_map(Vec::from)).prop_map(EntryKind::Symlink),
    ]
}

prop_compose! {
    fn entries()(
        name in name(), kind in kind(), size in option::of(any::<u64>()), seconds in option::of(0..=YEAR_9999),
        permissions in option::of(0u32..0o10000), owner in option::of(word()), group in option::of(word()),
        links in option::of(any::<u64>()),
    ) -> Entry {
        let modified = seconds.map(Timestamp::exact);
        Entry { name, kind, attributes: Attributes { size, modified, permissions, owner, group, links, ..Attributes::default() } }
    }
}

proptest! {
    #[test]
    fn arbitrary_lines_do_not_panic(line: Vec<u8>, now: i64) {
        check_any_line(&line, now);
    }

    #[test]
    fn likely_lines_do_not_panic(line in "[-dlc]?[-rwxst 0-9,.:>+NovDIR<;=typesizlnk\\[\\]/]{0,80}", now: i64) {
        check_any_line(line.as_bytes(), now);
    }

    #[test]
    fn mutated_lines_do_not_panic(entry in entries(), at: prop::sample::Index, byte: u8, now: i64) {
        for mut line in [ls(&entry, now), facts(&entry, all())] {
            let at = at.index(line.len());
            line[at] = byte;
            check_any_line(&line, now);
            check_any_line(&line[..at], now);
        }
    }

    #[test]
    fn rendered_facts_are_parsed_back(entry in entries()) {
        let found = super::entry(&facts(&entry, all()));
        let size = entry.attributes.size.filter(|_| entry.kind == EntryKind::File);
        let attributes = Attributes { size, links: None, ..entry.attributes };
        prop_assert_eq!(found, Entry { attributes, ..entry });
    }

    #[test]
    fn rendered_ls_lines_are_parsed_back(mut entry in entries(), now in 0..=YEAR_9999, ago in option::of(0i64..86_400 * 180)) {
        if matches!(entry.kind, EntryKind::Symlink(_)) {
            entry.name.retain(|b| *b != b'>');
            prop_assume!(!entry.name.is_empty() && entry.name != b"." && entry.name != b"..");
        }
        let recent = ago.map(|ago| now - ago).filter(|seconds| *seconds >= 0);
        if let Some(seconds) = recent {
            entry.attributes.modified = Some(Timestamp::exact(seconds));
        }
        let Parsed::Entry(found) = parse_line(&ls(&entry, now), now) else { panic!("{entry:?}") };
        prop_assert_eq!(&found.name, &entry.name);
        prop_assert_eq!(&found.kind, &entry.kind);
        for (found, given) in [
            (found.attributes.owner, entry.attributes.owner),
            (found.attributes.group, entry.attributes.group),
        ] {
            prop_assert_eq!(found, Some(given.unwrap_or(b"ftp".to_vec())));
        }
        prop_assert_eq!(found.attributes.links, Some(entry.attributes.links.unwrap_or(1)));
        if let Some(size) = entry.attributes.size {
            prop_assert_eq!(found.attributes.size, Some(size));
        }
        if let Some(permissions) = entry.attributes.permissions {
            prop_assert_eq!(found.attributes.permissions, Some(permissions));
        }
        let seconds = entry.attributes.modified.map_or(0, |modified| modified.seconds);
        let found = found.attributes.modified.unwrap();
        let unit = if found.precision == Precision::Minute { 60 } else { 86_400 };
        prop_assert_eq!(found.seconds, seconds - seconds % unit);
        prop_assert!(recent.is_none() || found.precision == Precision::Minute);
    }
}

/// The fuzzer's findings and seeds.
#[test]
fn the_fuzzing_corpus_does_not_panic() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/ftp_listing_line");
    let mut files = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let line = std::fs::read(file.unwrap().path()).unwrap();
        for now in [0, NOW, i64::MIN, i64::MAX] {
            check_any_line(&line, now);
        }
        files += 1;
    }
    assert!(files > 0);
}

fn check_any_line(line: &[u8], now: i64) {
    parse_facts_line(line);
    let Parsed::Entry(entry) = parse_line(line, now) else { return };
    assert!(!entry.name.is_empty() && !entry.name.iter().any(|b| b"/\0\n".contains(b)));
    let mut out = Vec::new();
    if render_facts(&entry, all(), &mut out) {
        assert!(!out.iter().any(|b| b"\r\n\0".contains(b)));
        assert_eq!(super::entry(&out).name, entry.name);
    }
    out.clear();
    if render_ls(&entry, now, &mut out) {
        assert!(!out.iter().any(|b| b"\r\n\0".contains(b)));
        // An arrow in a link's name can be read in two ways.
        if !matches!(entry.kind, EntryKind::Symlink(_)) {
            let Parsed::Entry(again) = parse_line(&out, now) else { panic!("{entry:?}") };
            assert_eq!(again.name, entry.name);
        }
    }
}

fn all() -> FactSet {
    FactSet::of(&Fact::ALL)
}

fn ls(entry: &Entry, now: i64) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(render_ls(entry, now, &mut out));
    out
}

fn facts(entry: &Entry, facts: FactSet) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(render_facts(entry, facts, &mut out));
    out
}
