Feature: A cluster goes on without a follower

  Background:
    # So that a node which misses 60 writes finds them gone from the log of the others.
    Given I have user config override "snapshot_every" as "20"
    And I have user config override "log_entries_kept" as "10"
    And a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds

  Scenario: A stopped follower catches up after its restart
    Given I write 10 keys
    When I stop a follower
    Then 2 nodes are running
    When I write 30 keys
    And I start the stopped nodes
    Then the nodes agree on a leader within 15 seconds
    And every node has every acknowledged write within 15 seconds

  Scenario: The data of a stopped node is saved, lost, and put back
    Given I write 10 keys
    And I stop NODE_3
    And I create a snapshot "before" of NODE_3
    When I write 10 keys
    And I restore NODE_3 from snapshot "before" of NODE_3
    And I start NODE_3
    Then NODE_3 has caught up within 15 seconds
    And no acknowledged write is lost

  Scenario: A follower that missed more than the log keeps catches up by a Raft snapshot
    Given I stop a follower
    And I write 60 keys
    When I start the stopped nodes
    Then the nodes agree on a leader within 15 seconds
    And every node has every acknowledged write within 15 seconds
