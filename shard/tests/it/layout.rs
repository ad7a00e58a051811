//! The file `NODE` on a simulated disk.

use pinion_shard::layout::{self, Founding, LayoutError, Wanted};
use pinion_shard::{ClusterId, NodeId};
use pinion_wal::disk::sim::{Faults, Image, PATTERNS, SimDisk};
use pinion_wal::disk::{Disk, block_on, run_until};

fn wanted(cores: u16, groups: Option<u32>) -> Wanted {
    Wanted { cores, groups, founding: Founding { cluster: ClusterId(77), node: NodeId(3) } }
}

fn open(sim: &mut SimDisk, wanted: &Wanted) -> Result<layout::Layout, LayoutError> {
    let disk = Disk::new();
    block_on(&disk, sim, None, layout::open(&disk, wanted))
}

/// M3: the layout of the first start stands; another explicit number of groups is refused, with both shown.
#[test]
fn later_flags_do_not_change_the_layout() {
    let mut sim = SimDisk::new(1, Faults::default());
    let first = open(&mut sim, &wanted(2, None)).unwrap();
    assert_eq!((first.groups.len(), first.cores), (8, 2));
    assert_eq!(open(&mut sim, &wanted(2, Some(8))).unwrap(), first);
    let other = Wanted { founding: Founding { cluster: ClusterId(5), node: NodeId(9) }, ..wanted(1, None) };
    assert_eq!(open(&mut sim, &other).unwrap(), first, "identities and homes stay as they are stored");
    let refused = open(&mut sim, &wanted(2, Some(4))).unwrap_err();
    assert_eq!(refused, LayoutError::Groups { stored: 8, wanted: 4 });
    let text = refused.to_string();
    assert!(text.contains(" 8 ") && text.contains(" 4"), "{text}");
    assert!(matches!(open(&mut sim, &wanted(0, None)), Err(LayoutError::Limit { .. })));
    assert!(matches!(open(&mut sim, &wanted(1, Some(5_000))), Err(LayoutError::Limit { .. })));
}

/// D3: damage to the file is refused, never used; a directory that lost it is not founded anew.
#[test]
fn damage_and_loss_are_refused() {
    let mut sim = SimDisk::new(1, Faults::default());
    open(&mut sim, &wanted(2, None)).unwrap();
    let disk = Disk::new();
    block_on(&disk, &mut sim, None, disk.make_dir("log-0000")).unwrap();
    let sound = sim.image().clone();
    sim.image_mut().flip(layout::FILE, 60, 3);
    assert!(matches!(open(&mut sim, &wanted(2, None)), Err(LayoutError::Format(_))));
    let mut sim = SimDisk::from_image(sound, 1, Faults::default());
    sim.image_mut().remove(layout::FILE);
    assert!(matches!(open(&mut sim, &wanted(2, None)), Err(LayoutError::Lost { .. })));
}

/// D5: a crash at any operation of founding or replacing leaves the old layout or the new one, and what was
/// reported as done stays.
#[test]
fn a_crash_leaves_the_old_layout_or_the_new_one() {
    let mut points = 0;
    for pattern in PATTERNS {
        for halt in 0.. {
            let mut sim = SimDisk::new(halt, Faults::default());
            sim.halt_after(Some(halt));
            let disk = Disk::new();
            let work = async {
                let mut layout = layout::open(&disk, &wanted(1, None)).await.unwrap();
                layout.home_on(2);
                layout::store(&disk, &layout).await.unwrap();
            };
            let done = run_until(&disk, &mut sim, None, work).is_ok();
            let mut after = SimDisk::from_image(sim.crashed(pattern, halt), halt, Faults::default());
            let layout = open(&mut after, &wanted(1, None)).unwrap();
            assert!(layout.cores == 2 || !done, "a finished replacement is durable");
            points += 1;
            if done {
                break;
            }
        }
    }
    assert!(points > 50, "{points} crash points");
}

/// D2: whatever operation fails, founding reports it or was whole.
#[test]
fn a_failed_operation_is_reported() {
    for nth in 1..20 {
        let mut sim = SimDisk::new(nth, Faults::default().fail_nth(nth, false));
        let founded = open(&mut sim, &wanted(1, None));
        let mut after = SimDisk::from_image(reset(&sim), 1, Faults::default());
        let again = open(&mut after, &wanted(1, None));
        assert!(founded.is_err() || founded == again, "operation {nth}");
    }
}

fn reset(sim: &SimDisk) -> Image {
    sim.crashed(pinion_wal::disk::sim::Pattern::Nothing, 1)
}
