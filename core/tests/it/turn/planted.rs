//! What these tests check can fail: each planted bug is caught by one of them, and the same run is clean without it.

use super::*;
use pinion_core::planted::{assert_caught, plant};

/// Runs `check` with a bug and without it, in threads of their own.
fn caught(bug: &'static str, check: fn()) {
    std::thread::scope(|scope| {
        let with = scope.spawn(move || {
            plant(bug);
            check();
        });
        assert!(with.join().is_err(), "{bug} was not caught");
        assert!(scope.spawn(check).join().is_ok(), "a clean run fails");
    });
}

fn pipeline_of_one_key() {
    let mut host = memory_node(seed(41), 2, 4, World::default(), |_| {});
    let client = host.connect(0);
    expect(
        &mut host,
        client,
        &["SET k 1", "GET k", "SET k 2", "GET k"].map(words).concat(),
        "+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n",
    );
}

fn pipeline_over_all_cores() {
    let mut host = memory_node(seed(42), 3, 6, World::default(), |_| {});
    let client = host.connect(0);
    let pipeline: Vec<u8> =
        (0..30).flat_map(|number| words(&format!("INCRBY key:{number} {number}"))).collect();
    let expected: String = (0..30).map(|number| format!(":{number}\r\n")).collect();
    expect(&mut host, client, &pipeline, &expected);
    expect(
        &mut host,
        client,
        &pipeline,
        &(0..30).map(|number| format!(":{}\r\n", 2 * number)).collect::<String>(),
    );
}

#[test]
fn a_read_that_forgets_its_own_writes_is_caught() {
    caught("read-forgets-own-write", pipeline_of_one_key);
}

#[test]
fn a_message_delivered_twice_is_caught() {
    caught("message-delivered-twice", pipeline_over_all_cores);
}

#[test]
fn a_reply_out_of_turn_is_caught() {
    caught("reply-out-of-turn", pipeline_over_all_cores);
}

/// M3, D7, O1, O5, O6, O7: each check of a whole node or server fails under the bug that the table of promises names.
#[test]
fn bugs_of_a_server_are_caught() {
    for (bug, test) in [
        ("groups-from-the-flags", "server::later_flags_do_not_reinterpret_the_groups"),
        ("directory-not-locked", "server::a_directory_has_one_server"),
        ("overload-is-final", "turn::pressure::overload_is_answered_in_place_with_a_typed_error"),
        ("replies-never-pause", "turn::pressure::a_slow_reader_stops_being_read_from_and_loses_nothing"),
        ("password-not-asked", "turn::pressure::a_password_stands_before_every_command"),
        ("error-without-remedy", "server::a_busy_port_leaves_nothing_half_started"),
        ("trail-of-another-flight", "turn::latency::clients_wait_for_what_stages_name"),
        ("reply-held-back", "turn::latency::clients_wait_for_what_stages_name"),
    ] {
        assert_caught(bug, &[test]);
    }
}

/// A core that is kept busy for 20 ms is told as a stall of that core and of the phase, and its requests wait in that stage;
/// the other core has neither.
#[test]
fn a_core_kept_busy_is_caught_and_named() {
    plant("core-kept-busy");
    let mut host = memory_node(seed(43), 2, 4, World::default(), |_| {});
    let clients = [host.connect(0), host.connect(1)];
    for number in 0..8 {
        expect(&mut host, clients[1], &words(&format!("SET k{number} 1")), "+OK\r\n");
        expect(&mut host, clients[0], &words("PING"), "+PONG\r\n");
    }
    let samples: Vec<_> = host.machines().map(Core::sample).collect();
    let longest = |core: usize, name: &str| {
        let series = samples[core].series.iter().find(|series| series.name == name);
        series.map_or(0, |series| series.max)
    };
    assert!(longest(1, "stall/requests") >= 20_000_000 && longest(1, "command/set/admit") >= 20_000_000);
    let stalls = samples[0].series.iter().filter(|series| series.name.starts_with("stall/"));
    assert_eq!(stalls.count(), 0);
    assert!(longest(0, "command/ping/total") < 5_000_000);
    plant("");
}
