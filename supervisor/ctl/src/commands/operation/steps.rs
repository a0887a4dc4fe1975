//! The steps of one operation, from one supervisor and from the next.
//!
//! A supervisor that takes over tells an operation's steps from the first one on. It may know fewer of them than the one
//! before it has told: a step is told first and saved later. So a step that was seen is known by its number, which rises
//! from one supervisor to the next. A supervisor of a version without numbers is followed by count, and then an end is
//! never taken for a step that was seen.

use std::pin::Pin;
use std::time::Duration;

use gin_shared::control::{NumberedStep, Step};
use gin_shared::exit;
use gin_shared::generation::Generation;
use hyper::Response;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::client::{Client, Lines, plainly};
use crate::failure::Failure;

/// Time for which a supervisor may be gone: another program takes its place, or a service manager starts it again.
const ABSENCE: Duration = Duration::from_secs(10);
/// Pause between two tries to reach it.
const RETRY: Duration = Duration::from_millis(50);
/// A stream that lasts for so long comes from a supervisor that is there.
const STEADY: Duration = Duration::from_secs(1);

/// A step, as it was read and as it was written.
#[derive(Debug)]
pub(super) struct Told {
    /// The step.
    pub(super) step: Step,
    /// Its line.
    pub(super) line: String,
}

/// The steps that were seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// The number of steps.
    count: usize,
    /// The highest number of a step.
    newest: Option<u64>,
    /// The exit code, once the operation has ended.
    code: Option<u8>,
    /// True if the generations before it are gone, too.
    drained: bool,
    /// The generation that was replaced.
    replaced: Option<Generation>,
}

impl Seen {
    /// True if a step is new. `place`: its place in its stream, from 0.
    fn is_new(&self, place: usize, told: &NumberedStep) -> bool {
        match (told.number, self.newest) {
            (Some(number), Some(newest)) => number > newest,
            (Some(_), None) => true,
            (None, _) => place >= self.count || self.is_missing(&told.step),
        }
    }

    /// True if a step is an end that was not seen yet.
    fn is_missing(&self, step: &Step) -> bool {
        match step {
            Step::Ended(_) => self.code.is_none(),
            Step::Drained { .. } => !self.drained,
            Step::Waiting { .. }
            | Step::Generation { .. }
            | Step::Phase { .. }
            | Step::Probe { .. }
            | Step::Replaced { .. }
            | Step::Hook { .. }
            | Step::Failed { .. }
            | Step::Warning { .. }
            | Step::Checked { .. }
            | Step::Output { .. }
            | Step::Other => false,
        }
    }

    fn note(&mut self, told: &NumberedStep) {
        self.count += 1;
        self.newest = self.newest.max(told.number);
        match &told.step {
            Step::Ended(outcome) => self.code = Some(outcome.exit),
            Step::Drained { .. } => self.drained = true,
            Step::Generation { replaces, .. } => self.replaced = *replaces,
            Step::Waiting { .. }
            | Step::Phase { .. }
            | Step::Probe { .. }
            | Step::Replaced { .. }
            | Step::Hook { .. }
            | Step::Failed { .. }
            | Step::Warning { .. }
            | Step::Checked { .. }
            | Step::Output { .. }
            | Step::Other => {}
        }
    }

    /// True if nothing more is awaited.
    fn is_over(&self, until_drained: bool) -> bool {
        match self.code {
            None => false,
            Some(exit::DONE) => !until_drained || self.drained,
            Some(_) => true,
        }
    }
}

/// An open stream.
#[derive(Debug)]
struct Stream {
    lines: Lines,
    /// The number of steps that it has told.
    told: usize,
    opened: Instant,
}

/// An attempt to open a stream.
type Opening = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Failure>>>>;

/// The way to a supervisor.
enum Link {
    /// A stream is being opened. The attempt stands here, and not in a call of [`Steps::next`], so that it goes on if that call is
    /// dropped and made again.
    Opening(Opening),
    /// A stream is open.
    Open(Stream),
}

impl Link {
    /// Begins to open the stream at `path`, after a pause.
    fn begin(client: &Client, path: &str, pause: Duration) -> Self {
        let (client, path) = (client.clone(), path.to_owned());
        Self::Opening(Box::pin(async move {
            tokio::time::sleep(pause).await;
            client.stream(&path).await
        }))
    }
}

/// The steps of one operation.
pub(super) struct Steps {
    path: String,
    until_drained: bool,
    /// `None`: the stream that there was has ended, or there was none yet.
    link: Option<Link>,
    seen: Seen,
    /// The moment since which the supervisor has told nothing new and cannot be reached.
    lost: Option<Instant>,
}

impl Steps {
    /// Of the operation at `path` of the control API; `until_drained`: until the old generations are gone.
    pub(super) fn new(path: &str, until_drained: bool) -> Self {
        let path = if until_drained { format!("{path}?drained=true") } else { path.to_owned() };
        Self { path, until_drained, link: None, seen: Seen::default(), lost: None }
    }

    /// The exit code, once the operation has ended.
    pub(super) fn code(&self) -> Option<u8> {
        self.seen.code
    }

    /// The generation that the operation has replaced.
    pub(super) fn replaced(&self) -> Option<Generation> {
        self.seen.replaced
    }

    /// The next step that was not seen yet; `None` if nothing more is awaited. May be dropped and called again.
    ///
    /// # Errors
    /// If the supervisor is gone for too long, or its successor does not know the operation.
    pub(super) async fn next(&mut self, client: &Client) -> Result<Option<Told>, Failure> {
        loop {
            if self.seen.is_over(self.until_drained) {
                return Ok(None);
            }
            match &mut self.link {
                Some(Link::Open(stream)) => match stream.lines.next().await? {
                    Some(line) => {
                        if let Some(told) = self.take(line)? {
                            return Ok(Some(told));
                        }
                    }
                    None => self.lose(),
                },
                Some(Link::Opening(opening)) => {
                    let opened = opening.as_mut().await;
                    self.handle_opened(client, opened)?;
                }
                None => self.open(client, Duration::ZERO)?,
            }
        }
    }

    /// Begins to open a stream, unless the supervisor has been gone for too long.
    fn open(&mut self, client: &Client, pause: Duration) -> Result<(), Failure> {
        let lost = *self.lost.get_or_insert_with(Instant::now);
        if lost.elapsed() >= ABSENCE {
            return Err(Failure::absent(ABSENCE));
        }
        self.link = Some(Link::begin(client, &self.path, pause));
        Ok(())
    }

    /// Handles the end of an attempt to open a stream.
    fn handle_opened(&mut self, client: &Client, opened: Result<Response<Incoming>, Failure>) -> Result<(), Failure> {
        self.link = None;
        match opened {
            Ok(response) => {
                let stream = Stream { lines: Lines::new(response), told: 0, opened: Instant::now() };
                self.link = Some(Link::Open(stream));
                return Ok(());
            }
            // It knows nothing of it: it is another one.
            Err(failure) if failure.exit == exit::USAGE => return Err(Failure::gone()),
            // It is there. Too many follow something, and a place comes free.
            Err(failure) if failure.exit == exit::BUSY => self.lost = Some(Instant::now()),
            Err(failure) if failure.exit != exit::NO_SUPERVISOR => return Err(failure),
            Err(_) => {}
        }
        self.open(client, RETRY)
    }

    /// Takes a line in; gives the step, if it is new.
    fn take(&mut self, line: String) -> Result<Option<Told>, Failure> {
        let told: NumberedStep = plainly(line.as_bytes())
            .map_err(|e| Failure::new(exit::FAILED, format!("the supervisor speaks another version: {e}")))?;
        let Some(Link::Open(stream)) = &mut self.link else { return Ok(None) };
        let place = stream.told;
        stream.told += 1;
        if !self.seen.is_new(place, &told) {
            return Ok(None);
        }
        self.seen.note(&told);
        self.lost = None;
        Ok(Some(Told { step: told.step, line }))
    }

    /// The stream has ended. If it ended at once, the supervisor counts as gone since it was lost first.
    fn lose(&mut self) {
        let is_steady = |link: Link| matches!(link, Link::Open(stream) if stream.opened.elapsed() >= STEADY);
        let steady = self.link.take().is_some_and(is_steady);
        if steady || self.lost.is_none() {
            self.lost = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use gin_shared::control::Outcome;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;
    use crate::instance::Instance;

    fn waiting(number: Option<u64>) -> NumberedStep {
        NumberedStep { number, step: Step::Waiting { text: "for another".to_owned() } }
    }

    fn ended(number: Option<u64>, exit: u8) -> NumberedStep {
        NumberedStep { number, step: Step::Ended(Outcome { exit, text: String::new(), took_ms: 1.0 }) }
    }

    fn drained(number: Option<u64>) -> NumberedStep {
        NumberedStep { number, step: Step::Drained { connections: None } }
    }

    /// Has seen a stream of these steps.
    fn after(steps: &[NumberedStep]) -> Seen {
        let mut seen = Seen::default();
        tell(&mut seen, steps);
        seen
    }

    /// Tells a stream from its beginning; gives the places of the steps that are new.
    fn tell(seen: &mut Seen, steps: &[NumberedStep]) -> Vec<usize> {
        let mut new = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            if seen.is_new(place, step) {
                seen.note(step);
                new.push(place);
            }
        }
        new
    }

    #[test]
    fn a_successor_that_knows_fewer_steps_is_followed_to_the_end() {
        let mut seen = after(&[waiting(Some(10)), waiting(Some(11)), waiting(Some(12))]);
        // It has read the first one alone, and then adds its own.
        assert_eq!(tell(&mut seen, &[waiting(Some(10)), ended(Some(20), 0)]), [1]);
        assert!(seen.is_over(false));
    }

    #[test]
    fn a_supervisor_without_numbers_is_followed_by_count_and_its_end_is_never_skipped() {
        let mut seen = after(&[waiting(None), waiting(None), waiting(None)]);
        assert_eq!(tell(&mut seen, &[waiting(None), ended(None, 1)]), [1]);
        assert_eq!(seen.code, Some(1));
        assert_eq!(tell(&mut seen, &[waiting(None), ended(None, 1)]), [0_usize; 0]);
    }

    #[test]
    fn versions_may_change_in_both_directions() {
        // Without numbers, then with: what was read back has none, what is new has one.
        let mut seen = after(&[waiting(None), waiting(None)]);
        assert_eq!(tell(&mut seen, &[waiting(None), waiting(None), waiting(Some(30))]), [2]);
        // And back to a version that drops them.
        assert_eq!(tell(&mut seen, &[waiting(None), waiting(None), waiting(None), ended(None, 0)]), [3]);
    }

    /// Reads a request, as far as its headers go.
    async fn read_request(stream: &mut UnixStream) -> String {
        let mut seen = String::new();
        while !seen.ends_with("\r\n\r\n") {
            let mut some = [0; 512];
            let count = stream.read(&mut some).await.unwrap();
            assert!(count > 0, "it has left: {seen:?}");
            seen.push_str(std::str::from_utf8(&some[..count]).unwrap());
        }
        seen
    }

    #[tokio::test]
    async fn who_looks_at_something_else_meanwhile_still_connects_once() {
        let path = std::env::temp_dir().join(format!("gin-ctl-steps-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let client = Client::new(&Instance::from_socket(&path));
        let mut steps = Steps::new("/v1/operations/1", false);
        // A tick of the clock, say: the call is dropped when the connection is made, and has no answer yet.
        let mut stream = tokio::select! {
            biased;
            told = steps.next(&client) => panic!("nothing was told: {told:?}"),
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let request = tokio::select! {
            biased;
            told = steps.next(&client) => panic!("nothing was told: {told:?}"),
            _ = listener.accept() => panic!("it connects anew"),
            request = read_request(&mut stream) => request,
        };
        assert!(request.starts_with("GET /v1/operations/1 "), "{request}");
        let step = serde_json::to_string(&ended(Some(1), 0)).unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{step}\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let told = steps.next(&client).await.unwrap().unwrap();
        assert_eq!((told.line, steps.code()), (step, Some(0)));
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn an_operation_whose_old_generations_are_awaited_is_not_over_when_it_has_ended() {
        let mut seen = after(&[ended(Some(1), 0)]);
        assert!(seen.is_over(false) && !seen.is_over(true));
        // The supervisor is another one meanwhile.
        assert_eq!(tell(&mut seen, &[ended(Some(1), 0), drained(Some(2))]), [1]);
        assert!(seen.is_over(true));
        assert!(after(&[ended(None, 1)]).is_over(true), "nothing drains after a failure");
    }
}
