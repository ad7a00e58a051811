//! Made-up machines: each check is seen good, and seen to complain.

use super::*;

/// A machine as it should be.
fn sound() -> Facts {
    Facts {
        cpus: vec![2, 3],
        kernel: Some("6.18.5-amd64".into()),
        ring: Some(Ring::Missing(vec![])),
        ring_disabled: Some(0),
        seccomp: Some(0),
        locked_bytes: Some(Limit::Unlimited),
        open_files: Some(Limit::AtMost(1 << 20)),
        huge_pages: Some("always [madvise] never".into()),
        governors: vec![(2, "performance".into()), (3, "performance".into())],
        isolated: Some(vec![2, 3]),
        tickless: Some(vec![2, 3]),
        quota: Some(Quota::Unlimited),
        interrupts: Some(vec![]),
        backlog: Some(4096),
        mount: Some(mount("ext4", "rw,relatime")),
        direct: Some(Ok(())),
        free_bytes: Some(100 << 30),
        write_cache: Some("write through".into()),
        syncs: Some(Ok(syncs(60, 200))),
        clock_source: Some("tsc".into()),
        swap_bytes: Some(0),
        numa: vec![vec![0, 1, 2, 3]],
        overcommit: Some(0),
    }
}

fn mount(kind: &str, options: &str) -> Mount {
    let options = options.split(',').map(str::to_owned).collect();
    Mount { point: "/data".into(), kind: kind.into(), options, device: "259:1".into() }
}

fn syncs(p50: u64, p99: u64) -> Syncs {
    Syncs { count: 5_000, p50, p90: p50, p99, p999: p99, max: p99, bars: vec![(64, 4_000), (256, 1_000)] }
}

fn verdict_of(facts: &Facts, name: &str) -> Check {
    judge(facts).into_iter().find(|check| check.name == name).expect("the check is there")
}

#[test]
fn a_sound_machine_has_no_complaint() {
    for check in judge(&sound()) {
        assert_eq!((check.verdict, check.remedy.as_str()), (Verdict::Ok, ""), "{check:?}");
    }
}

#[test]
fn a_machine_that_cannot_be_read_is_unknown_and_not_bad() {
    let checks = judge(&Facts::default());
    assert!(checks.iter().all(|check| check.verdict == Verdict::Unknown), "{checks:?}");
}

/// O7: each trouble is told by its own check alone, with why and what to do.
#[test]
fn each_trouble_is_told_with_its_remedy() {
    use Verdict::{Bad, Warn};
    type Spoil = fn(&mut Facts);
    let troubles: &[(&str, Verdict, &str, Spoil)] = &[
        ("kernel", Bad, "5.15", |f| f.kernel = Some("5.15.0-91-generic".into())),
        ("kernel", Bad, "6.0.7", |f| f.kernel = Some("6.0.7".into())),
        ("io_uring", Bad, "forbidden", |f| f.ring = Some(Ring::Refused("io_uring is forbidden here".into()))),
        ("io_uring", Bad, "fsync", |f| f.ring = Some(Ring::Missing(vec!["fsync"]))),
        ("io_uring", Warn, "for this user", |f| f.ring_disabled = Some(1)),
        ("locked memory", Warn, "8 MiB", |f| f.locked_bytes = Some(Limit::AtMost(8 << 20))),
        ("open files", Bad, "1024", |f| f.open_files = Some(Limit::AtMost(1024))),
        ("open files", Warn, "20000", |f| f.open_files = Some(Limit::AtMost(20_000))),
        ("huge pages", Warn, "never", |f| f.huge_pages = Some("always madvise [never]".into())),
        ("huge pages", Warn, "always", |f| f.huge_pages = Some("[always] madvise never".into())),
        ("governor", Warn, "CPU 3 powersave", |f| f.governors[1].1 = "powersave".into()),
        ("isolation", Warn, "isolcpus none", |f| f.isolated = Some(vec![])),
        ("isolation", Warn, "nohz_full none", |f| f.tickless = None),
        ("isolation", Warn, "[4, 5]", |f| f.isolated = Some(vec![4, 5])),
        ("cpu quota", Warn, "1.50 CPUs for 2 cores", |f| f.quota = Some(Quota::Cpus(1.5))),
        ("interrupts", Warn, "40 eth0 on CPU 2: 9000/s", |f| {
            let one = Interrupts { device: "40 eth0".into(), cpu: 2, per_second: 9_000.0 };
            f.interrupts = Some(vec![one]);
        }),
        ("backlog", Warn, "128", |f| f.backlog = Some(128)),
        ("file system", Bad, "tmpfs", |f| f.mount = Some(mount("tmpfs", "rw"))),
        ("file system", Bad, "nobarrier", |f| f.mount = Some(mount("ext4", "rw,nobarrier"))),
        ("file system", Bad, "ro", |f| f.mount = Some(mount("ext4", "ro,relatime"))),
        ("file system", Warn, "data=journal", |f| f.mount = Some(mount("ext4", "rw,data=journal"))),
        ("file system", Warn, "btrfs", |f| f.mount = Some(mount("btrfs", "rw"))),
        ("file system", Warn, "overlay", |f| f.mount = Some(mount("overlay", "rw"))),
        ("file system", Warn, "nfs4", |f| f.mount = Some(mount("nfs4", "rw"))),
        ("direct I/O", Bad, "Invalid argument", |f| f.direct = Some(Err("Invalid argument".into()))),
        ("free space", Bad, "0.1 GiB", |f| f.free_bytes = Some(100 << 20)),
        ("free space", Warn, "3.0 GiB", |f| f.free_bytes = Some(3 << 30)),
        ("write cache", Warn, "write back", |f| f.write_cache = Some("write back".into())),
        ("sync latency", Bad, "p50 40000 us", |f| f.syncs = Some(Ok(syncs(40_000, 90_000)))),
        ("sync latency", Bad, "I/O error", |f| f.syncs = Some(Err("I/O error".into()))),
        ("sync latency", Warn, "p99 20000 us", |f| f.syncs = Some(Ok(syncs(300, 20_000)))),
        ("sync latency", Warn, "p50 3 us", |f| f.syncs = Some(Ok(syncs(3, 5)))),
        ("clock source", Warn, "hpet", |f| f.clock_source = Some("hpet".into())),
        ("swap", Warn, "2048 MiB", |f| f.swap_bytes = Some(2 << 30)),
        ("numa", Warn, "2 nodes", |f| f.numa = vec![vec![0, 2], vec![1, 3]]),
        ("overcommit", Warn, "2", |f| f.overcommit = Some(2)),
    ];
    for &(name, verdict, words, spoil) in troubles {
        let mut facts = sound();
        spoil(&mut facts);
        let check = verdict_of(&facts, name);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.seen.contains(words), "{words} is missing in {check:?}");
        assert!(!check.remedy.is_empty() && !check.why.is_empty(), "{check:?}");
        let others = judge(&facts).into_iter().filter(|other| other.name != name);
        assert!(others.clone().all(|other| other.verdict == Verdict::Ok), "{:?}", others.collect::<Vec<_>>());
        let text = as_text(&facts, &judge(&facts));
        assert!(text.contains(&check.remedy) && text.contains(check.why), "{text}");
    }
    let complained: Vec<&str> = troubles.iter().map(|trouble| trouble.0).collect();
    for check in judge(&sound()) {
        assert!(complained.contains(&check.name), "nothing shows that {} can complain", check.name);
    }
}

#[test]
fn cores_on_one_of_several_nodes_are_fine() {
    let facts = Facts { numa: vec![vec![0, 1], vec![2, 3]], ..sound() };
    assert_eq!(verdict_of(&facts, "numa").verdict, Verdict::Ok);
}

#[test]
fn the_answer_as_json_says_the_same() {
    let facts = Facts { swap_bytes: Some(1 << 30), kernel: Some("4.19.0".into()), ..sound() };
    let checks = judge(&facts);
    let json: serde_json::Value = serde_json::from_str(&as_json(&facts, &checks)).expect("it is JSON");
    assert_eq!(json["verdict"], "bad");
    let told = json["checks"].as_array().expect("a list");
    assert_eq!(told.len(), checks.len());
    assert_eq!((&told[0]["name"], &told[0]["verdict"]), (&json!("kernel"), &json!("bad")));
    assert_eq!(json["sync_histogram"][0], json!({"micros_max": 64, "writes": 4_000}));
}

#[test]
fn the_longest_mount_point_holds_a_path() {
    let text = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
        30 22 259:1 / /data rw shared:4 - xfs /dev/nvme0n1p1 rw,attr2\n\
        31 22 0:40 / /data/in\\040memory rw,nosuid - tmpfs tmpfs rw,size=1k\n";
    let mount = |path| mount_of(text, path).map(|mount| (mount.kind, mount.device)).expect("a root is there");
    assert_eq!(mount("/data/a"), ("xfs".to_owned(), "259:1".to_owned()));
    assert_eq!(mount("/data"), ("xfs".to_owned(), "259:1".to_owned()));
    assert_eq!(mount("/database"), ("ext4".to_owned(), "8:1".to_owned()));
    assert_eq!(mount("/data/in memory/x"), ("tmpfs".to_owned(), "0:40".to_owned()));
    let options = mount_of(text, "/data").expect("it is there").options;
    assert_eq!(options, ["rw", "rw", "attr2"]);
}

#[test]
fn device_interrupts_are_counted_and_timers_are_not() {
    let before =
        "      CPU0   CPU1\n 24:   5    0  MSI 1-edge  eth0\nLOC:  100  100  Local timer interrupts\n";
    let after = "      CPU0   CPU1\n 24:   5   50  MSI 1-edge  eth0\n 25:  0  9  MSI  disk\nLOC:  900  900  Local timer\n";
    let seen = interrupts(before, after, &[1], 0.5);
    let told: Vec<_> = seen.iter().map(|one| (one.device.as_str(), one.cpu, one.per_second)).collect();
    assert_eq!(told, [("24 eth0", 1, 100.0), ("25 disk", 1, 18.0)]);
    assert_eq!(interrupts(before, after, &[0], 0.5), []);
}

#[test]
fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
    assert_eq!(cpu_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
    assert_eq!(cpu_list(""), Some(vec![]));
    assert_eq!(cpu_list("(null)"), Some(vec![]));
    assert_eq!(cpu_list("two"), None);
    assert_eq!(cpu_list("3-1"), None);
}

/// The real machine: everything that tests need works here, and durable writes leave nothing behind.
#[test]
fn this_machine_is_read() {
    let dir = std::env::temp_dir().join(format!("pinion-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory for the test");
    let facts = read::read(&dir, None, 1);
    assert_eq!(facts.ring, Some(Ring::Missing(vec![])));
    assert!(facts.mount.is_some() && facts.kernel.is_some() && !facts.cpus.is_empty(), "{facts:?}");
    let syncs = facts.syncs.expect("they were asked for").expect("this directory can be written to");
    assert_eq!(syncs.count, syncs.bars.iter().map(|bar| bar.1).sum::<u64>());
    assert!(syncs.count > 0 && syncs.p50 <= syncs.p99 && syncs.p99 <= syncs.max, "{syncs:?}");
    assert_eq!(std::fs::read_dir(&dir).expect("it is there").count(), 0, "a file was left behind");
    let absent = read::read(&dir.join("not/there"), Some(vec![0]), 0);
    assert_eq!((absent.syncs, absent.mount), (None, facts.mount));
    let _ = std::fs::remove_dir_all(&dir);
}
