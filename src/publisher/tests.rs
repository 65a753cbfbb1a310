use std::sync::atomic::{AtomicUsize, Ordering};

use super::backpressure::CONGESTED;
use super::*;

fn publisher() -> Publisher {
    Publisher::new(Arc::new(Session::new(b"")))
}

fn parent(id: &str) -> Arc<Parent> {
    Arc::new(Parent { msg_id: id.into(), ..Parent::none() })
}

fn take(publisher: &Publisher) -> String {
    match publisher.take(Waker::noop(), |_| Hold::No) {
        Next::Entry(Entry::Text(text)) => format!("{}:{:?}:{}", text.parent.msg_id, text.name, text.text),
        Next::Entry(Entry::Message(_)) => "message".into(),
        Next::Waits(_) => "waits".into(),
        Next::Held(_) => "held".into(),
        Next::Empty => "empty".into(),
        Next::Closed => "closed".into(),
    }
}

#[test]
fn text_joins_until_something_else_comes_between() {
    let (publisher, a, b) = (publisher(), parent("a"), parent("b"));
    publisher.text(&a, StreamName::Stdout, "1");
    publisher.text(&a, StreamName::Stdout, "2");
    publisher.text(&a, StreamName::Stderr, "3");
    publisher.text(&b, StreamName::Stderr, "4");
    publisher.idle(&b);
    publisher.text(&b, StreamName::Stderr, "5");
    assert_eq!(take(&publisher), "a:Stdout:12");
    assert_eq!(take(&publisher), "a:Stderr:3");
    assert_eq!(take(&publisher), "b:Stderr:4");
    assert_eq!(take(&publisher), "message");
    assert_eq!(take(&publisher), "b:Stderr:5");
    assert_eq!(take(&publisher), "empty");
}

#[test]
fn the_last_text_is_held_until_flushed_or_followed() {
    let (publisher, a) = (publisher(), parent("a"));
    publisher.text(&a, StreamName::Stdout, "1");
    let hold = |_: &Text| Hold::Until(Instant::now());
    assert!(matches!(publisher.take(Waker::noop(), hold), Next::Held(_)));
    publisher.flush();
    assert_eq!(take(&publisher), "a:Stdout:1");
    assert_eq!(take(&publisher), "empty");
    publisher.text(&a, StreamName::Stdout, "2");
    publisher.idle(&a);
    assert!(matches!(publisher.take(Waker::noop(), hold), Next::Entry(Entry::Text(_))));
}

#[test]
fn large_text_does_not_wait_and_makes_congestion_visible() {
    let (publisher, a) = (publisher(), parent("a"));
    publisher.text(&a, StreamName::Stdout, &"x".repeat(CONGESTED + 1));
    assert!(publisher.is_congested(Urgency::Output));
    assert_eq!(take(&publisher), "message");
    assert!(!publisher.is_congested(Urgency::Output));
}

#[test]
fn waiting_threads_are_notified_when_half_of_the_room_is_free() -> std::io::Result<()> {
    let (publisher, a) = (publisher(), parent("a"));
    for _ in 0..3 {
        publisher.text(&a, StreamName::Stdout, &"x".repeat(CONGESTED / 2 - 1000));
    }
    assert!(publisher.is_congested(Urgency::Output));
    let wake_fd = Arc::new(WakeFd::new()?);
    publisher.when_room(Urgency::Output, wake_fd.clone());
    assert_eq!(take(&publisher), "message");
    assert!(publisher.is_congested(Urgency::Output), "half is still full");
    assert_eq!(take(&publisher), "message");
    assert!(!publisher.is_congested(Urgency::Output));
    wake_fd.wait()?;
    wake_fd.clear();
    publisher.when_room(Urgency::Output, wake_fd.clone());
    wake_fd.wait()
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_actor_is_woken_once_and_not_for_a_busy_that_a_message_follows() {
    let (publisher, a, woken) = (publisher(), parent("a"), Arc::new(Count::default()));
    let waker = Waker::from(woken.clone());
    for round in 1..3 {
        assert!(matches!(publisher.take(&waker, |_| Hold::No), Next::Empty));
        publisher.busy(&a, Busy { since: Utc::now(), runs_code: true, has_more: true });
        assert_eq!(woken.0.load(Ordering::Relaxed), round - 1);
        publisher.idle(&a);
        publisher.idle(&a);
        assert_eq!(woken.0.load(Ordering::Relaxed), round);
        for _ in 0..3 {
            assert!(matches!(publisher.take(&waker, |_| Hold::No), Next::Entry(Entry::Message(_))));
        }
    }
}

#[test]
fn the_actor_that_awaits_the_end_of_a_line_is_woken_for_it_once() {
    let (publisher, a, woken) = (publisher(), parent("a"), Arc::new(Count::default()));
    let waker = Waker::from(woken.clone());
    let count = || woken.0.load(Ordering::Relaxed);
    let later = Instant::now() + Duration::from_secs(60);
    assert!(matches!(publisher.take(&waker, |_| Hold::No), Next::Empty));
    publisher.text(&a, StreamName::Stdout, "1");
    assert_eq!(count(), 1);
    assert!(matches!(publisher.take(&waker, |_| Hold::Line(later)), Next::Held(_)));
    publisher.text(&a, StreamName::Stdout, " ");
    assert_eq!(count(), 1);
    for _ in 0..2 {
        publisher.text(&a, StreamName::Stdout, "2\n");
        assert_eq!(count(), 2);
    }
    // Text that is held because more is expected wakes nothing.
    assert!(matches!(publisher.take(&waker, |_| Hold::Until(later)), Next::Held(_)));
    publisher.text(&a, StreamName::Stdout, "3\n");
    assert_eq!(count(), 2);
    assert_eq!(take(&publisher), "a:Stdout:1 2\n2\n3\n");
}

#[test]
fn busy_is_published_once_more_for_the_oldest_that_runs() {
    let (publisher, a, b, c) = (publisher(), parent("a"), parent("b"), parent("c"));
    let publish = |parent: &Arc<Parent>, runs_code| {
        publisher.busy(parent, Busy { since: Utc::now(), runs_code, has_more: false });
    };
    publish(&a, true);
    publish(&b, true);
    publish(&c, false);
    for parent in [&c, &a, &b] {
        publisher.idle(parent);
    }
    let mut seen = Vec::new();
    while let Next::Entry(Entry::Message(Message::Small(small))) = publisher.take(Waker::noop(), |_| Hold::No)
    {
        let state = String::from_utf8_lossy(&small.content).contains("busy");
        seen.push((small.parent.msg_id.clone(), state));
    }
    let expected =
        [("a", true), ("b", true), ("c", true), ("c", false), ("a", true), ("a", false), ("b", true)];
    let expected = expected.into_iter().chain([("b", false)]).map(|(id, state)| (id.to_owned(), state));
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn a_closed_publisher_sends_what_it_has_and_takes_no_more() {
    let (publisher, a) = (publisher(), parent("a"));
    publisher.text(&a, StreamName::Stdout, "1");
    publisher.close();
    publisher.text(&a, StreamName::Stdout, "2");
    assert_eq!(take(&publisher), "a:Stdout:1");
    assert_eq!(take(&publisher), "closed");
}
