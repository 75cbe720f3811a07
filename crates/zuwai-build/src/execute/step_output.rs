//! Where a command's output goes.
//!
//! One command at a time has the program's own standard output and error. When several run side by side, each writes
//! into pipes, and threads bring whole lines, with a label that says whose they are, to where they belong. A thread
//! reads on only when it has written: a slow reader of the program's output holds the commands back.

mod lines;

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zuwai_rootfs::run::Output;
use zuwai_rootfs::signals::Interrupt;

use self::lines::Lines;
use crate::request::CommandOutput;

/// How long the beginning of a line waits for its end.
const PATIENCE: Duration = Duration::from_millis(300);

/// How often an end is looked for that a stopped build does not wait for.
const LOOK: Duration = Duration::from_millis(100);

/// How many bytes are read at once.
const PIECE: usize = 16 << 10;

/// What brings a command's output to its place while the command runs.
#[derive(Debug)]
pub struct StepOutput {
    /// Each gets how its thread went.
    threads: Vec<Receiver<io::Result<()>>>,
    /// When it closes, no more is to come.
    stop: Option<PipeWriter>,
}

impl StepOutput {
    /// The command has the program's own standard output and error.
    ///
    /// # Errors
    /// When they cannot be shared.
    pub fn direct(to: CommandOutput) -> io::Result<(Output, Self)> {
        let [stdout, stderr] = destinations(to)?;
        let output = Output { stdout: stdout.into(), stderr: stderr.into() };
        Ok((output, Self { threads: Vec::new(), stop: None }))
    }

    /// The command shares them with others: `[label] ` begins each of its lines. A line that has not ended after some
    /// time or is very long is broken.
    ///
    /// # Errors
    /// When pipes or threads cannot be had.
    pub fn labelled(to: CommandOutput, label: &str) -> io::Result<(Output, Self)> {
        let [stdout, stderr] = destinations(to)?;
        let ([stdout, stderr], guard) = Self::through(stdout, stderr, label)?;
        Ok((Output { stdout: stdout.into(), stderr: stderr.into() }, guard))
    }

    fn through(stdout: OwnedFd, stderr: OwnedFd, label: &str) -> io::Result<([PipeWriter; 2], Self)> {
        let (stopped, stop) = io::pipe()?;
        let mut output = Self { threads: Vec::new(), stop: Some(stop) };
        // What goes to one place goes through one pipe, which keeps its order.
        let same = is_same_file(&stdout, &stderr)?;
        let into_stdout = output.bring(stdout, label, stopped.try_clone()?)?;
        let into_stderr =
            if same { into_stdout.try_clone()? } else { output.bring(stderr, label, stopped)? };
        Ok(([into_stdout, into_stderr], output))
    }

    /// Starts a thread, and gives the pipe that it reads.
    fn bring(&mut self, to: OwnedFd, label: &str, stopped: PipeReader) -> io::Result<PipeWriter> {
        let (reader, writer) = io::pipe()?;
        let mut pump = Pump { from: reader, stopped, to: File::from(to), lines: Lines::new(label) };
        let (done, ended) = mpsc::channel();
        std::thread::Builder::new().name("output".into()).spawn(move || {
            let result = pump.run();
            // Without a reader, a command that goes on writing is told so by the system.
            drop(pump);
            let _ = done.send(result);
        })?;
        self.threads.push(ended);
        Ok(writer)
    }

    /// Waits until all is written that the command left in the pipes. Call it when no process of the command is left.
    /// If the build is told to stop, a reader that takes nothing is not waited for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, interrupt: &Interrupt) -> io::Result<()> {
        drop(self.stop.take());
        self.threads.iter().try_for_each(|thread| {
            let mut was_told = false;
            loop {
                match thread.recv_timeout(LOOK) {
                    Ok(result) => return result,
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(io::Error::other("the thread that writes it is gone"));
                    }
                    Err(RecvTimeoutError::Timeout) if was_told => return Ok(()),
                    Err(RecvTimeoutError::Timeout) => was_told = interrupt.check().is_err(),
                }
            }
        })
    }
}

/// Where standard output and error of a command go in the end.
fn destinations(to: CommandOutput) -> io::Result<[OwnedFd; 2]> {
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    let stdout = match to {
        CommandOutput::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
        CommandOutput::Stderr => stderr.try_clone()?,
    };
    Ok([stdout, stderr])
}

fn is_same_file(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    let identity =
        |descriptor: &OwnedFd| rustix::fs::fstat(descriptor).map(|stat| (stat.st_dev, stat.st_ino));
    Ok(identity(one)? == identity(other)?)
}

/// Brings lines from a pipe to a file.
struct Pump {
    from: PipeReader,
    stopped: PipeReader,
    to: File,
    lines: Lines,
}

impl Pump {
    fn run(&mut self) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut break_off_at = None;
        // What may still be read once no more is to come: whoever holds on to the pipe is not listened to without end.
        let mut left = None;
        loop {
            let (readable, stopped) = self.wait(break_off_at)?;
            if stopped && left.is_none() {
                left = Some(rustix::pipe::fcntl_getpipe_size(&self.from)?);
            }
            if readable && left != Some(0) {
                let most = left.unwrap_or(PIECE).min(PIECE);
                let read = read(&mut self.from, piece.get_mut(..most).unwrap_or_default())?;
                if read == 0 {
                    break;
                }
                left = left.map(|left| left - read);
                self.lines.push(piece.get(..read).unwrap_or_default());
            } else if stopped {
                break;
            }
            let now = Instant::now();
            if break_off_at.is_some_and(|at| at <= now) {
                self.lines.break_off();
            }
            break_off_at = match break_off_at {
                _ if !self.lines.has_begun() => None,
                Some(at) if self.lines.ready().is_empty() => Some(at),
                _ => Some(now + PATIENCE),
            };
            self.write()?;
        }
        self.lines.finish();
        self.write()
    }

    /// Waits for more, for the end, or until a time. Says which of the two came.
    fn wait(&self, until: Option<Instant>) -> io::Result<(bool, bool)> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&self.from, PollFlags::IN), PollFd::new(&self.stopped, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty()))
    }

    /// Writes the lines that are ready; the lock of the log keeps them whole.
    fn write(&mut self) -> io::Result<()> {
        let ready = self.lines.ready();
        if ready.is_empty() {
            return Ok(());
        }
        let whole = io::stderr().lock();
        let result = write_all(&mut self.to, ready);
        drop(whole);
        ready.clear();
        result
    }
}

fn read(from: &mut PipeReader, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Writes all of it, also where whoever started the program made its output one that does not block.
fn write_all(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    /// What comes out of what is written as a command would.
    fn brought(write: impl FnOnce([PipeWriter; 2])) -> Vec<u8> {
        let (mut reader, writer) = io::pipe().unwrap();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        let (pipes, output) =
            StepOutput::through(writer.try_clone().unwrap().into(), writer.into(), "a").unwrap();
        write(pipes);
        output.finish(&Interrupt::new()).unwrap();
        reading.join().unwrap()
    }

    #[test]
    fn both_outputs_come_in_order_where_they_go_to_one_place() {
        let expected: String =
            (0..100).map(|number| format!("[a] out {number}\n[a] err {number}\n")).collect();
        let all = brought(|[mut stdout, mut stderr]| {
            for number in 0..100 {
                writeln!(stdout, "out {number}").unwrap();
                writeln!(stderr, "err {number}").unwrap();
            }
        });
        assert_eq!(String::from_utf8(all).unwrap(), expected);
    }

    #[test]
    fn the_end_is_written_though_somebody_holds_the_pipe() {
        let mut held = None;
        let all = brought(|[mut stdout, stderr]| {
            stdout.write_all(b"no end").unwrap();
            held = Some((stdout, stderr));
        });
        assert_eq!(all, b"[a] no end\n");
    }

    #[test]
    fn the_beginning_of_a_line_does_not_wait_for_its_end() {
        let (reader, writer) = io::pipe().unwrap();
        let mut reader = io::BufReader::new(reader);
        let ([mut stdout, _stderr], output) =
            StepOutput::through(writer.try_clone().unwrap().into(), writer.into(), "a").unwrap();
        let mut line = String::new();
        for part in ["checking ...", " done"] {
            stdout.write_all(part.as_bytes()).unwrap();
            line.clear();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line, format!("[a] {part}\n"));
        }
        output.finish(&Interrupt::new()).unwrap();
    }

    #[test]
    fn bytes_of_any_kind_and_number_come_through() {
        let bytes: Vec<u8> = (0..10 << 20).map(|at: u32| at.to_le_bytes()[1] | 0x80).collect();
        let all = brought(|[mut stdout, _stderr]| stdout.write_all(&bytes).unwrap());
        let lines: Vec<&[u8]> = all.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), bytes.len().div_ceil(lines::LONG) + 1);
        let content: Vec<u8> =
            lines.iter().flat_map(|line| line.strip_prefix(b"[a] ").unwrap_or(line)).copied().collect();
        assert!(content == bytes);
    }

    #[test]
    fn lines_of_commands_side_by_side_are_whole() {
        let (mut reader, writer) = io::pipe().unwrap();
        let writing: Vec<_> = ["a", "b", "c"]
            .map(|label| {
                let (stdout, stderr) = (writer.try_clone().unwrap(), writer.try_clone().unwrap());
                std::thread::spawn(move || {
                    let ([mut stdout, _stderr], output) =
                        StepOutput::through(stdout.into(), stderr.into(), label).unwrap();
                    let line = label.repeat(50_000) + "\n";
                    for part in line.repeat(50).as_bytes().chunks(7_777) {
                        stdout.write_all(part).unwrap();
                    }
                    drop((stdout, _stderr));
                    output.finish(&Interrupt::new()).unwrap();
                })
            })
            .into();
        drop(writer);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        writing.into_iter().for_each(|thread| thread.join().unwrap());
        let mut lines: Vec<&str> = all.lines().collect();
        lines.sort_unstable();
        let expected = ["a", "b", "c"].map(|label| format!("[{label}] {}", label.repeat(50_000)));
        assert_eq!(lines.len(), 150);
        for (line, expected) in lines.chunks(50).zip(&expected) {
            assert!(line.iter().all(|line| line == expected));
        }
    }

    #[test]
    fn a_slow_reader_holds_the_command_back() {
        let (mut reader, writer) = io::pipe().unwrap();
        let ([stdout, _stderr], output) =
            StepOutput::through(writer.try_clone().unwrap().into(), writer.into(), "a").unwrap();
        rustix::io::ioctl_fionbio(&stdout, true).unwrap();
        let mut stdout = stdout;
        let mut taken = 0;
        let line = [b"x".repeat(4095).as_slice(), b"\n"].concat();
        // Nobody reads: at some point nothing is taken any more, for longer than a thread needs to make room.
        let mut refusals = 0;
        while refusals < 50 {
            match stdout.write(&line) {
                Ok(written) => (taken, refusals) = (taken + written, 0),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    refusals += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        assert!(taken < 1 << 20, "{taken} bytes");
        drop((stdout, _stderr));
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        output.finish(&Interrupt::new()).unwrap();
        let content = reading.join().unwrap().iter().filter(|byte| **byte == b'x').count();
        assert_eq!(content, taken - taken / 4096);
    }

    #[test]
    fn a_reader_that_takes_nothing_does_not_keep_a_stopped_build() {
        let (_reader, writer) = io::pipe().unwrap();
        let ([mut stdout, _stderr], output) =
            StepOutput::through(writer.try_clone().unwrap().into(), writer.into(), "a").unwrap();
        rustix::io::ioctl_fionbio(&stdout, true).unwrap();
        while stdout.write(&[b'x'; 4096]).is_ok() {}
        let interrupt = Interrupt::new();
        interrupt.raise(15);
        output.finish(&interrupt).unwrap();
    }

    #[test]
    fn a_reader_that_went_away_is_an_error_and_the_command_is_told() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let ([mut stdout, _stderr], output) =
            StepOutput::through(writer.try_clone().unwrap().into(), writer.into(), "a").unwrap();
        let refused = loop {
            if let Err(error) = stdout.write_all(b"line\n") {
                break error;
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
        let error = output.finish(&Interrupt::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn an_output_that_does_not_block_gets_everything() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let ([mut stdout, _stderr], output) =
            StepOutput::through(writer.try_clone().unwrap().into(), writer.into(), "a").unwrap();
        let writing = std::thread::spawn(move || {
            for _ in 0..1000 {
                stdout.write_all(&[b"x".repeat(999).as_slice(), b"\n"].concat()).unwrap();
            }
            drop((stdout, _stderr));
            output.finish(&Interrupt::new()).unwrap();
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        writing.join().unwrap();
        assert_eq!(all.len(), 1000 * (1000 + "[a] ".len()));
    }
}
