//! Commands that came during a transfer and wait for its end.

use std::collections::VecDeque;

use crate::wire::ftp::line::TooLong;

/// Commands that may wait, repeated NOOPs counted as one, and their bytes.
const COMMANDS_MAX: usize = 1024;
const BYTES_MAX: usize = 64 * 1024;

/// A command line as it came.
pub(super) type Line = Result<Vec<u8>, TooLong>;

#[derive(Default)]
pub(super) struct CommandQueue {
    waiting: VecDeque<Waiting>,
    lines: usize,
    bytes: usize,
    quit: bool,
}

enum Waiting {
    Line(Line),
    /// Clients send NOOP for hours to keep a translated address alive.
    Noops(u64),
}

/// More commands than may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueFull;

impl CommandQueue {
    /// Adds a command. Whatever follows QUIT is never answered, so it is not kept.
    pub(super) fn push(&mut self, line: Line) -> Result<(), QueueFull> {
        if self.quit {
            return Ok(());
        }
        if is_noop(&line) {
            match self.waiting.back_mut() {
                Some(Waiting::Noops(count)) => *count += 1,
                // One more than the lines at most, since lines separate them.
                _ => self.waiting.push_back(Waiting::Noops(1)),
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
        self.waiting.push_back(Waiting::Line(line));
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<Line> {
        match self.waiting.front_mut()? {
            Waiting::Noops(count) if *count > 1 => {
                *count -= 1;
                return Some(Ok(b"NOOP".to_vec()));
            }
            _ => {}
        }
        match self.waiting.pop_front()? {
            Waiting::Noops(_) => Some(Ok(b"NOOP".to_vec())),
            Waiting::Line(line) => {
                self.bytes -= size(&line);
                self.lines -= 1;
                self.quit = self.quit && !self.waiting.is_empty();
                Some(line)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the client has said QUIT.
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
    fn noops_are_counted_and_come_back_in_their_place() {
        let mut queue = CommandQueue::default();
        for text in ["PWD", "NOOP", "noop", "NOOP", "SYST", "NOOP"] {
            queue.push(line(text)).unwrap();
        }
        assert_eq!(queue.waiting.len(), 4);
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
    fn quit_is_taken_by_a_full_queue_and_ends_it() {
        let mut queue = CommandQueue::default();
        (0..COMMANDS_MAX).for_each(|_| queue.push(line("PWD")).unwrap());
        queue.push(line("QUIT")).unwrap();
        assert!(queue.has_quit());
        queue.push(line("PWD")).unwrap();
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), COMMANDS_MAX + 1);
        assert!(!queue.has_quit());
    }
}
