//! Whatever a worker writes into the memory of all counts, scrapes and the service go on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gin_shared::process::open_files;
use harness::{Client, PATIENCE, Scrape, Supervisor, free_port, times};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::service::{Place, REQUESTS, ask, counting, series, told};

/// Bytes of a page, or a part of one.
const PAGE: usize = 4096;

/// The memory of all counts, as any process of the workers' user can open it. A worker has it, also one without a master.
pub fn memory_of_counts(gin: &Supervisor) -> File {
    let master = gin.pid().as_raw();
    let of = |pid: i32| {
        let mut files = open_files(pid).ok()?;
        let memory = files.find(|file| file.target.as_os_str() == "/memfd:gin-metrics (deleted)")?;
        File::options().read(true).write(true).open(format!("/proc/{pid}/fd/{}", memory.number)).ok()
    };
    let mut workers = gin.processes().into_iter().filter(|pid| *pid != master);
    workers.find_map(of).expect("a worker has the memory")
}

/// The parts that have been written to. The memory has much room that nobody has used: to fill that would only fill the machine.
fn used(memory: &File) -> Vec<(u64, u64)> {
    let (mut parts, mut at) = (Vec::new(), 0);
    loop {
        match seek(memory, SeekFrom::Data(at)) {
            Ok(start) => {
                let end = seek(memory, SeekFrom::Hole(start)).unwrap();
                parts.push((start, end));
                at = end;
            }
            Err(Errno::NXIO) => return parts,
            Err(error) => panic!("the memory cannot be looked through: {error}"),
        }
    }
}

/// The next of a row of words: any number, one at the edge, a small one, or the bits of a floating-point number.
fn nonsense(last: &mut u64) -> u64 {
    // A multiplicative congruence: any spread will do.
    *last = last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    match *last >> 61 {
        0 => 0,
        1 => u64::MAX,
        2 => (*last >> 32) & 0xff,
        3 => (*last >> 32) & 0xffff,
        4 => f64::NAN.to_bits(),
        _ => *last,
    }
}

/// Says that it is over when it is dropped, however the test ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Writes nonsense into each word that was written before, a page at a time.
fn write_everywhere(memory: &File, last: &mut u64) {
    for (start, end) in used(memory) {
        for page in (start..end).step_by(PAGE) {
            let words: Vec<u8> = (0..PAGE / 8).flat_map(|_| nonsense(last).to_ne_bytes()).collect();
            memory.write_all_at(&words, page).unwrap();
        }
    }
}

/// Writes nonsense until it is over, and counts how often all words were written.
fn write_nonsense(memory: &File, is_over: &AtomicBool, rounds: &AtomicU64) {
    let mut last = 1;
    while !is_over.load(Ordering::SeqCst) {
        write_everywhere(memory, &mut last);
        rounds.fetch_add(1, Ordering::SeqCst);
    }
}

/// Requests over one connection after another: each is answered.
fn ask_often(gin: &Supervisor) {
    let address = gin.tcp();
    let mut client = Client::connect(&address).unwrap();
    for number in 0..times(300, 5_000) {
        let answer = client.get(&format!("/order?kind=tea{}", number % 10)).unwrap();
        assert_eq!(answer.status, 200);
        if answer.closes() || number % 50 == 0 {
            client = Client::connect(&address).unwrap();
        }
    }
}

/// Nobody is told a number that does not exist.
fn assert_readable(scrape: &Scrape) {
    for (series, value) in scrape.samples() {
        assert!(value.is_finite(), "{series:?}: {value}");
    }
}

#[test]
fn whatever_is_written_into_the_memory_the_service_goes_on_and_a_restart_counts_again() {
    let port = free_port();
    let gin = counting(port).workers(2).section(&series(64)).start();
    ask(&gin, "/order?kind=tea", 10);
    let (memory, is_over, rounds) = (memory_of_counts(&gin), AtomicBool::new(false), AtomicU64::new(0));
    let before = gin.memory();
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        scope.spawn(|| write_nonsense(&memory, &is_over, &rounds));
        let service = &gin;
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(move || ask_often(service))).collect();
        for _ in 0..times(20, 200) {
            Place::all(&gin, port).iter().for_each(|place| assert_readable(&place.scrape()));
            assert_readable(&Place::own(port).scrape_with("?by=worker"));
        }
        // Workers that start meanwhile find nonsense.
        gin.restart();
        assert_readable(&told(&gin));
        clients.into_iter().for_each(|client| client.join().unwrap());
        drop(over);
    });
    assert!(rounds.load(Ordering::SeqCst) > 0, "nothing was written");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    // What a reader copies is bounded by the room of all regions.
    let after = gin.memory();
    assert!(after < before + 96 * 1024, "the master had {before} KiB, and has {after} KiB");
    let labels = [("route", "/order"), ("status", "200")];
    let counted = |place: &Place| place.scrape().get(REQUESTS, &labels).unwrap_or(0.0);
    let places = Place::all(&gin, port);
    let before = places.each_ref().map(counted);
    ask(&gin, "/order?kind=tea", 40);
    for (place, before) in places.iter().zip(before) {
        assert_eq!(counted(place) - before, 40.0, "{}: {}", place.name, gin.log());
    }
    gin.stop();
}

#[test]
fn a_master_that_adopts_a_memory_full_of_nonsense_serves() {
    let mut gin = counting(free_port()).workers(2).section(&series(64)).start();
    ask(&gin, "/", 10);
    gin.kill();
    gin.wait_dead();
    let memory = memory_of_counts(&gin);
    write_everywhere(&memory, &mut 7);
    gin.start_again();
    assert_readable(&told(&gin));
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    let before = told(&gin).get(REQUESTS, &[("route", "/order")]).unwrap_or(0.0);
    ask(&gin, "/order?kind=tea", 5);
    assert_eq!(told(&gin).value(REQUESTS, &[("route", "/order")]) - before, 5.0, "{}", gin.log());
    gin.stop();
}

#[test]
fn a_worker_that_hangs_in_the_midst_of_a_count_keeps_no_scrape_waiting() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let port = free_port();
    let gin = counting(port).workers(2).start();
    ask(&gin, "/order?kind=tea", 10);
    let stopped = Pid::from_raw(gin.workers()[0]);
    kill(stopped, Signal::SIGSTOP).unwrap();
    let began = std::time::Instant::now();
    for place in [Place::control(&gin), Place::own(port)] {
        assert_eq!(place.scrape().value("shop_orders_total", &[]), 10.0, "{}", place.name);
        // It lives still, so it is told apart.
        assert_eq!(place.scrape_with("?by=worker").value("shop_orders_total", &[]), 10.0, "{}", place.name);
    }
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    kill(stopped, Signal::SIGCONT).unwrap();
    gin.stop();
}
