//! One line of a listing, without its end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::op::EntryKind;
use lockgate::wire::ftp::listing::{
    Fact, FactSet, Parsed, parse_facts_line, parse_line, render_facts, render_ls,
};

/// 2026-11-22 17:35:00.
const NOW: i64 = 1_795_368_900;

fuzz_target!(|line: &[u8]| {
    parse_facts_line(line);
    let Parsed::Entry(entry) = parse_line(line, NOW) else { return };
    assert!(!entry.name.is_empty() && !entry.name.iter().any(|b| b"/\0\n".contains(b)));

    let mut out = Vec::new();
    if render_facts(&entry, FactSet::of(&Fact::ALL), &mut out) {
        assert_one_line(&out);
        assert_eq!(name_of(&out), entry.name);
    }
    out.clear();
    if render_ls(&entry, NOW, &mut out) {
        assert_one_line(&out);
        // An arrow in a link's name can be read in two ways.
        if !matches!(entry.kind, EntryKind::Symlink(_)) {
            assert_eq!(name_of(&out), entry.name);
        }
    }
});

fn assert_one_line(rendered: &[u8]) {
    assert!(!rendered.iter().any(|b| b"\r\n\0".contains(b)));
}

fn name_of(rendered: &[u8]) -> Vec<u8> {
    match parse_line(rendered, NOW) {
        Parsed::Entry(entry) => entry.name,
        other => panic!("{other:?}: {}", rendered.escape_ascii()),
    }
}
