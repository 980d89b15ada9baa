@smoke
Feature: The nodes of a cluster get their files through cfgsync

  Every node of a cluster registers where it will be, and gets files that were made from all
  registrations: so the nodes that begin together know each other, and one that comes later knows
  them all.

  Scenario: One that comes late finds the others
    Given a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds
    When I start node "NODE_4"
    And I add NODE_4 to the voters
    Then 4 nodes have a vote within 15 seconds

  Scenario: A changed configuration is a new registration
    Given a cluster of 1 node
    And the nodes agree on a leader within 15 seconds
    When I restart NODE_1 with user config override "heartbeat_ms" as "80"
    And I restart NODE_1 with user config override "election_timeout_min_ms" as "400"
    Then the nodes agree on a leader within 15 seconds

  Scenario: Files that cannot be made fail the cluster with the reason
    When I run the harness on this feature:
      """
      Feature: A configuration that does not fit
        Scenario: A path that is not there
          Given I have user config override "hartbeat_ms" as "100"
          And a cluster of 2 nodes
      """
    Then the exit code is 1
    And it prints "heartbeat_ms" within 5 seconds
    And nothing of that run is left
