//! What a command writes, cut into lines that begin with a label.

/// A line that is this long is broken: so much is held in memory, and so long other commands wait for their turn.
pub const LONG: usize = 64 << 10;

/// Cuts what comes in any pieces into labelled lines. Nothing is lost or changed; what is added are labels, and an end
/// of line where a line was broken off.
#[derive(Debug)]
pub struct Lines {
    label: Vec<u8>,
    /// The beginning of a line whose end has not come.
    pending: Vec<u8>,
    /// Whole lines, with their labels.
    ready: Vec<u8>,
}

impl Lines {
    /// With `[label] ` before every line.
    pub fn new(label: &str) -> Self {
        Self { label: format!("[{label}] ").into_bytes(), pending: Vec::new(), ready: Vec::new() }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line(self.pending.len());
            }
            while self.pending.len() >= LONG {
                self.end_line(character_boundary(&self.pending, LONG));
            }
        }
    }

    /// Ends the line that has begun. A progress bar, which goes back to the start of its line again and again, is
    /// broken at the last place where it does so.
    pub fn break_off(&mut self) {
        match self.pending.iter().rposition(|byte| *byte == b'\r') {
            Some(at) => self.end_line(at + 1),
            None => self.end_line(self.pending.len()),
        }
    }

    /// Ends the last line.
    pub fn finish(&mut self) {
        self.end_line(self.pending.len());
    }

    /// Whether a line has begun whose end has not come.
    pub fn has_begun(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The whole lines that there are by now; the caller empties it.
    pub fn ready(&mut self) -> &mut Vec<u8> {
        &mut self.ready
    }

    /// Makes a line of the first `length` bytes of what is pending.
    fn end_line(&mut self, length: usize) {
        let Some(line) = self.pending.get(..length).filter(|line| !line.is_empty()) else { return };
        self.ready.extend_from_slice(&self.label);
        for (at, byte) in line.iter().enumerate() {
            self.ready.push(*byte);
            // What overwrites the line on a terminal overwrites the label too.
            let goes_on = line.get(at + 1).is_some_and(|next| !matches!(next, b'\r' | b'\n'));
            if *byte == b'\r' && goes_on {
                self.ready.extend_from_slice(&self.label);
            }
        }
        if !line.ends_with(b"\n") {
            self.ready.push(b'\n');
        }
        self.pending.drain(..length);
    }
}

/// The last place up to `limit` that is not within a character, if the text is UTF-8.
fn character_boundary(text: &[u8], limit: usize) -> usize {
    let is_inside = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (limit.saturating_sub(3)..=limit).rev().find(|at| !is_inside(at)).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of pieces, which are between bars.
    fn cut(pieces: &[u8]) -> Vec<u8> {
        let mut lines = Lines::new("a");
        for piece in pieces.split(|byte| *byte == b'|') {
            lines.push(piece);
        }
        lines.finish();
        assert!(!lines.has_begun());
        lines.ready().clone()
    }

    #[test]
    fn every_line_has_its_label_however_it_comes() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"one\ntwo\n", b"[a] one\n[a] two\n"),
            (b"o|ne\nt|wo", b"[a] one\n[a] two\n"),
            (b"\n\n", b"[a] \n[a] \n"),
            (b"\x00\xff\x1b[1m\n", b"[a] \x00\xff\x1b[1m\n"),
            (b"windows\r|\n", b"[a] windows\r\n"),
            (b"1%\r2%|\r3%\n", b"[a] 1%\r[a] 2%\r[a] 3%\n"),
            (b"1%\r|2%\r\r\n", b"[a] 1%\r[a] 2%\r\r\n"),
        ];
        for (pieces, expected) in cases {
            assert_eq!(cut(pieces).escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }

    #[test]
    fn only_whole_lines_are_ready() {
        let mut lines = Lines::new("a");
        lines.push(b"one\ntw");
        assert!(lines.has_begun());
        assert_eq!(lines.ready(), b"[a] one\n");
        lines.break_off();
        assert_eq!(lines.ready(), b"[a] one\n[a] tw\n");
        assert!(!lines.has_begun());
        lines.break_off();
        assert_eq!(lines.ready(), b"[a] one\n[a] tw\n");
    }

    #[test]
    fn a_progress_bar_is_broken_where_it_begins_again() {
        let mut lines = Lines::new("a");
        lines.push(b"1%\r2%\r3");
        lines.break_off();
        assert_eq!(lines.ready(), b"[a] 1%\r[a] 2%\r\n");
        lines.push(b"%\n");
        assert_eq!(lines.ready(), b"[a] 1%\r[a] 2%\r\n[a] 3%\n");
    }

    #[test]
    fn a_long_line_is_broken_and_no_byte_of_it_is_lost() {
        let text = "x".repeat(LONG - 1) + "é" + &"y".repeat(3 * LONG);
        let mut lines = Lines::new("a");
        for piece in text.as_bytes().chunks(1000) {
            lines.push(piece);
            assert!(lines.pending.len() < LONG);
        }
        lines.finish();
        let ready = String::from_utf8(lines.ready().clone()).unwrap();
        let parts: Vec<&str> = ready.lines().map(|line| line.strip_prefix("[a] ").unwrap()).collect();
        assert_eq!(parts.len(), 5);
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn what_is_not_text_is_broken_at_the_limit() {
        let parts = cut(&[0x80; 2 * LONG]);
        assert_eq!(parts.iter().filter(|byte| **byte == 0x80).count(), 2 * LONG);
        assert_eq!(parts.split(|byte| *byte == b'\n').count(), 3);
    }
}
