Feature: A cluster goes on without a follower

  Background:
    Given a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds

  Scenario: A stopped follower catches up after its restart
    Given I write 10 keys
    When I stop a follower
    Then 2 nodes are running
    When I write 30 keys
    And I start the stopped nodes
    Then the nodes agree on a leader within 15 seconds
    And every node has every acknowledged write within 15 seconds

  Scenario: A follower that was away for long catches up by a snapshot
    Given I create a snapshot "early" of NODE_3
    And the nodes agree on a leader within 15 seconds
    And I write 100 keys
    And I stop NODE_3
    When I restore NODE_3 from snapshot "early" of NODE_3
    And I start NODE_3
    Then NODE_3 has caught up within 20 seconds
    And no acknowledged write is lost
