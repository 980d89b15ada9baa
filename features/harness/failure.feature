Feature: A failure tells what was awaited and what was seen

  Scenario: A wait that runs out shows the last snapshot
    When I run the harness on this feature:
      """
      Feature: Too much asked
        Scenario: Five voters of three
          Given a cluster of 3 nodes
          Then 5 nodes have a vote within 1 second
      """
    Then the exit code is 1
    And it prints "waited 1s for every running node to know the same 5 voters; the last snapshot was"
    And it prints "NODE_3:"
    And nothing of that run is left

  Scenario: An external node that does not answer is named
    When I run the harness on this feature:
      """
      Feature: Outside
        Scenario: An external node beside ours
          Given nodes must be ready within 2 seconds
          And external nodes:
            | node     | url                |
            | PUBLIC_1 | http://127.0.0.9:9 |
          And a cluster of 1 node
      """
    Then the exit code is 1
    And it prints "PUBLIC_1 does not say who it is, so it is known by its address"
    And it prints "NODE_1: ready"
    And it prints "PUBLIC_1: not ready; last seen:"
    And nothing of that run is left

  Scenario: A node that dies in the middle of a scenario is noticed
    Given a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds
    When somebody else kills NODE_2
    Then NODE_2 ends by itself within 5 seconds
    And 2 nodes are running
    And the nodes agree on a leader within 15 seconds

  Scenario: A lost write is found and named
    When I run the harness on this feature:
      """
      Feature: Data loss
        Scenario: The node forgets what it acknowledged
          Given a cluster of 1 node
          And I create a snapshot "early" of NODE_1
          And I write 10 keys
          And I stop NODE_1
          When I restore NODE_1 from snapshot "early" of NODE_1
          And I start NODE_1
          Then no acknowledged write is lost
      """
    Then the exit code is 1
    And it prints "10 of 10 acknowledged writes are not on NODE_1"
    And it prints "key-00001 reads None"
