//! Commands received during a transfer, which wait for its end.

use std::collections::VecDeque;

use crate::wire::ftp::line::TooLong;

/// Queued commands, repeated NOOPs counted as one, and their bytes.
const COMMANDS_MAX: usize = 1024;
const BYTES_MAX: usize = 64 * 1024;

/// A command line as received.
pub(super) type Line = Result<Vec<u8>, TooLong>;

#[derive(Default)]
pub(super) struct CommandQueue {
    queued: VecDeque<Queued>,
    lines: usize,
    bytes: usize,
    quit: bool,
}

enum Queued {
    Line(Line),
    /// Clients send NOOP for hours to keep a translated address alive.
    Noops(u64),
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueFull;

impl CommandQueue {
    /// Adds a command. What follows QUIT is discarded.
    pub(super) fn push(&mut self, line: Line) -> Result<(), QueueFull> {
        if self.quit {
            return Ok(());
        }
        if is_noop(&line) {
            match self.queued.back_mut() {
                Some(Queued::Noops(count)) => *count += 1,
                // Lines separate these, so they are at most one more than the lines.
                _ => self.queued.push_back(Queued::Noops(1)),
            }
            return Ok(());
        }
        self.quit = line.as_ref().is_ok_and(|line| is_verb(line, b"QUIT"));
        let bytes = self.bytes + size(&line);
        if !self.quit && (bytes > BYTES_MAX || self.lines >= COMMANDS_MAX) {
            return Err(QueueFull);
        }
        self.bytes = bytes;
        self.lines += 1;
        self.queued.push_back(Queued::Line(line));
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<Line> {
        match self.queued.front_mut()? {
            Queued::Noops(count) if *count > 1 => {
                *count -= 1;
                return Some(Ok(b"NOOP".to_vec()));
            }
            _ => {}
        }
        match self.queued.pop_front()? {
            Queued::Noops(_) => Some(Ok(b"NOOP".to_vec())),
            Queued::Line(line) => {
                self.bytes -= size(&line);
                self.lines -= 1;
                self.quit = self.quit && !self.queued.is_empty();
                Some(line)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Whether QUIT is queued.
    pub(super) fn has_quit(&self) -> bool {
        self.quit
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn size(line: &Line) -> usize {
    line.as_ref().map_or(0, Vec::len)
}

pub(super) fn is_verb(line: &[u8], verb: &[u8]) -> bool {
    line.trim_ascii_end().eq_ignore_ascii_case(verb)
}

fn is_noop(line: &Line) -> bool {
    line.as_ref().is_ok_and(|line| is_verb(line, b"NOOP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Ok(text.as_bytes().to_vec())
    }

    #[test]
    fn repeated_noops_are_counted_and_returned_in_order() {
        let mut queue = CommandQueue::default();
        for text in ["PWD", "NOOP", "noop", "NOOP", "SYST", "NOOP"] {
            queue.push(line(text)).unwrap();
        }
        assert_eq!(queue.queued.len(), 4);
        let all: Vec<_> = std::iter::from_fn(|| queue.pop()).map(Result::unwrap).collect();
        assert_eq!(all, [&b"PWD"[..], b"NOOP", b"NOOP", b"NOOP", b"SYST", b"NOOP"]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn noops_never_fill_the_queue_and_other_commands_do() {
        let mut queue = CommandQueue::default();
        for _ in 0..COMMANDS_MAX {
            queue.push(line("PWD")).unwrap();
            queue.push(line("NOOP")).unwrap();
        }
        (0..1_000_000).for_each(|_| queue.push(line("NOOP")).unwrap());
        assert_eq!(queue.push(line("PWD")), Err(QueueFull));
        let mut queue = CommandQueue::default();
        let long = "x".repeat(BYTES_MAX / 4);
        (0..4).for_each(|_| queue.push(line(&long)).unwrap());
        assert_eq!(queue.push(line("PWD")), Err(QueueFull));
    }

    #[test]
    fn a_full_queue_accepts_quit_and_discards_what_follows() {
        let mut queue = CommandQueue::default();
        (0..COMMANDS_MAX).for_each(|_| queue.push(line("PWD")).unwrap());
        queue.push(line("QUIT")).unwrap();
        assert!(queue.has_quit());
        queue.push(line("PWD")).unwrap();
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), COMMANDS_MAX + 1);
        assert!(!queue.has_quit());
    }
}
