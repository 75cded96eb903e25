//! TYPE A (RFC 959 section 3.1.1.1): translated for a local folder, passed on to an FTP server.

use super::Plan;

const TEXT: &[u8] = b"one\r\ntwo\r\n\r\nlast without an end";

#[test]
fn ascii_converts_line_ends_for_a_folder() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    raw.expect("TYPE A", 200);
    assert_eq!(raw.upload("STOR text", TEXT).code, 226);
    assert_eq!(fixture.get("text"), b"one\ntwo\n\nlast without an end");
    assert_eq!(raw.download("RETR text").0, TEXT);
    assert!(raw.expect("SIZE text", 213).text.starts_with(&format!("213 {}", TEXT.len())));
    raw.expect("TYPE I", 200);
    assert_eq!(raw.download("RETR text").0, b"one\ntwo\n\nlast without an end");
    raw.expect("TYPE A", 200);
    assert_eq!(raw.upload("APPE text", b"\r\nmore\r\n").code, 226);
    assert_eq!(fixture.get("text"), b"one\ntwo\n\nlast without an end\nmore\n");
}
