Feature: The membership grows while writes go on

  Scenario: From three voters to five
    Given a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds
    And I keep writing
    When I start node "NODE_4"
    And I add NODE_4 to the voters
    And I start node "NODE_5"
    And I add NODE_5 to the voters
    Then 5 nodes have a vote within 15 seconds
    And 20 more writes are acknowledged within 15 seconds
    And no acknowledged write is lost
