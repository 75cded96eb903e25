pub fn parse_time(_: &[u8]) -> Option<i64> {
    None
}
