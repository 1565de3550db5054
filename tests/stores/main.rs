//! A lake is the same wherever it is kept: one suite, on a local disk and on real object stores.

#![cfg(test)]
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/servers/mod.rs"]
mod servers;

mod contract;
mod lake;

/// Each case as a test of each store: `cargo test --test stores azurite`.
macro_rules! on {
    ({ $($store:ident: $kind:ident),+ } $cases:tt) => {
        $(mod $store {
            use crate::servers::Kind::$kind as KIND;
            on!(KIND $cases);
        })+
    };
    ($kind:ident { $($module:ident: [$($case:ident),+])+ }) => {
        $($(
            #[test]
            fn $case() {
                crate::$module::$case($kind);
            }
        )+)+
    };
}

on! {
    { disk: Disk, s3s: S3s, seaweedfs: SeaweedFs, fake_gcs: FakeGcs, azurite: Azurite }
    {
        lake: [
            an_export_is_the_truth_also_after_changes,
            a_day_that_is_empty_at_the_source_becomes_empty,
            of_two_runs_at_once_one_stays_and_the_next_run_makes_it_right,
            a_run_of_another_selection_is_refused,
            a_strangers_file_is_refused_and_left_alone,
            a_killed_run_is_completed_by_the_next,
            a_run_that_is_told_to_stop_ends_soon,
            what_cannot_be_read_is_in_quarantine,
            a_long_ledger_is_merged
        ]
    }
}

/// What only buckets have.
mod bucket {
    on! {
        { s3s: S3s, seaweedfs: SeaweedFs, fake_gcs: FakeGcs, azurite: Azurite }
        {
            lake: [a_wrong_way_in_is_told, saved_pages_are_read_where_they_are]
            contract: [
                an_object_is_read_whole_and_in_parts,
                keys_are_any_text,
                what_is_not_there_is_not_found,
                of_many_that_create_an_object_one_does,
                of_many_that_replace_a_version_one_does,
                an_upload_in_parts_appears_when_it_is_complete,
                a_listing_of_many_pages_is_complete
            ]
        }
    }
}

#[test]
fn a_store_without_conditions_needs_the_operators_word() {
    lake::a_store_without_conditions_needs_the_operators_word(servers::Kind::CarelessGcs);
}
