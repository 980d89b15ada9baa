Feature: Nodes keep one chain between them

  Background:
    Given the application is "devchain"

  @smoke
  Scenario Outline: A chain of <nodes> nodes grows and is agreed on
    Given a cluster of <nodes> nodes
    Then node "NODE_1" is at height 3 in 20 seconds
    And all nodes have at least 5 blocks and converged to within 2 blocks in 30 seconds
    And I query cryptarchia info for all nodes

    Examples:
      | nodes |
      | 1     |
      | 2     |
      | 5     |

  Scenario: What is deep enough is final for all
    Given the cluster uses cryptarchia security parameter 5
    And a cluster of 3 nodes
    Then all nodes agree on LIB in 60 seconds
    And all nodes share the same LIB at or above height 3 in 30 seconds

  Scenario: A chain begins when it is said to
    Given the chain starts 6 seconds from now
    And a cluster of 2 nodes
    Then the configured genesis time has not passed for 2 seconds
    And node "NODE_1" is exactly at height 0
    And node "NODE_2" is at height 1 in 20 seconds

  Scenario: Nodes are started one by one, each told of others by name
    Given I have a cluster with capacity of 3 nodes
    When I start node "NODE_1"
    And I start peer node "NODE_2" connected to node "NODE_1"
    And I start peer node "NODE_3" connected to node "NODE_1" and node "NODE_2"
    Then node "NODE_3" has at least 2 peers within 10 seconds
    And all nodes converged to within 1 blocks in 20 seconds

  Scenario: A late joiner downloads the chain before it takes part
    Given I have a cluster with capacity of 3 nodes
    And all peers must be mode online after startup in 20 seconds
    When I start node "NODE_1"
    And I start node "NODE_2"
    And node "NODE_1" is at height 12 in 30 seconds
    And I record node "NODE_1" height as "before"
    And I start node "NODE_3"
    Then node "NODE_3" reaches 3 blocks beyond recorded height "before" in 20 seconds
    And all nodes converged to within 2 blocks in 20 seconds

  Scenario: Nobody waits for nodes that are started at once
    Given I have a cluster with capacity of 3 nodes
    When I start node "NODE_1"
    And I immediate start node "NODE_2"
    And I immediate start peer node "NODE_3" connected to node "NODE_1"
    Then I wait for all nodes to be responsive in 20 seconds
    And all nodes converged to within 2 blocks in 30 seconds
