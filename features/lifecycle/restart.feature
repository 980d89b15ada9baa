Feature: Restarts lose nothing

  Background:
    Given a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds

  Scenario: All nodes are restarted at once
    Given I write 30 keys
    When I restart all nodes
    Then the nodes agree on a leader within 15 seconds
    And no acknowledged write is lost

  Scenario: All nodes are restarted one after the other under writes
    Given I keep writing
    And 20 more writes are acknowledged within 15 seconds
    When I restart all nodes one after the other
    Then the nodes agree on a leader within 15 seconds
    And 20 more writes are acknowledged within 15 seconds
    And no acknowledged write is lost
